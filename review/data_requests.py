"""What review holds of a member: what they wrote and decided, and how they like to work."""

from __future__ import annotations

from typing import Any

from accounts.data_requests import Archive, Plan
from accounts.models import DataRequest
from review.models import Annotation, Appeal, Decision, Mention, Note, ReviewPreference


class Reviews:
    """Notes, decisions, marks and mentions."""

    def matches(self, request: DataRequest) -> int:
        return 0

    def export(self, request: DataRequest, archive: Archive) -> None:
        member = request.member
        if member is None:
            self._export_appeals(request, archive)
            return
        notes = [_row(note, "text", case=note.case_id) for note in Note.objects.filter(author=member)]
        marks = [_row(mark, "text", case=mark.case_id) for mark in Annotation.objects.filter(author=member)]
        decisions = [
            _row(one, "outcome", "label", "reasons", "answer", case=one.case_id)
            for one in Decision.objects.filter(reviewer=member)
        ]
        archive.json("review.json", {"notes": notes, "marks": marks, "decisions": decisions})
        archive.counts.update({"notes": len(notes), "decisions": len(decisions)})

    def _export_appeals(self, request: DataRequest, archive: Archive) -> None:
        jobs = request.wanted.get("jobs", [])
        rows = Appeal.objects.filter(job__in=jobs, job__organization=request.organization)
        archive.json("appeals.json", [_row(one, "text", "email", "answer", job=one.job_id) for one in rows])
        archive.counts["appeals"] += len(rows)

    def plan(self, request: DataRequest, plan: Plan) -> None:
        if request.member is None:
            return
        for row in self._personal(request.member):
            plan.row(row)
        if Note.objects.filter(author=request.member).exists():
            plan.kept.append("Notes and decisions on cases stay with the cases, without a name.")

    def erase(self, request: DataRequest) -> None:
        if request.member is not None:
            for row in self._personal(request.member):
                row.delete()

    def remains(self, request: DataRequest) -> list[str]:
        left = request.member is not None and self._personal(request.member)
        return ["Mentions or preferences of the member are still there."] if left else []

    def _personal(self, member: Any) -> list[Any]:
        return [*Mention.objects.filter(user=member), *ReviewPreference.objects.filter(user=member)]


def _row(row: Any, *fields: str, **more: Any) -> dict[str, Any]:
    return {"id": str(row.pk), "at": row.created_at, **{name: getattr(row, name) for name in fields}, **more}
