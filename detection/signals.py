"""What detection tells the rooms above it."""

from django.dispatch import Signal

analysis_finished = Signal()
"""Sent after a job has reached its end (completed, failed or cancelled) and that is committed. Argument: job."""
