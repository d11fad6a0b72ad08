"""Fakes made from real media by classical means, so that a net learns the traces and not a generator's name."""
