"""What detection tells the rooms above it."""

from django.dispatch import Signal

verdict_recorded = Signal()
"""Sent inside the transaction that completes a job, so that a receiver's rows are kept or lost with the verdict.
Arguments: job, result. Receivers only write rows; one that fails is undone alone and never costs the verdict.
Not sent for sandbox jobs."""

analysis_finished = Signal()
"""Sent after a job has reached its end (completed, failed or cancelled) and that is committed. Argument: job.
Also sent for sandbox jobs (job.is_sandbox), of which no alert may come."""
