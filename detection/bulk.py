"""What can be done with many analyses at once. Rooms above add actions of their own with `offer`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from accounts.models import User
from deepfake.errors import DomainError
from detection.models import Job

MOST = 1000  # of "all that match": the rest is left for a second time, and said so
Run = Callable[[Job, User], object]


@dataclass(frozen=True)
class Action:
    """One thing to do with each of many jobs; `run` raises DomainError for those it cannot be done with."""

    name: str
    word: str  # on the button
    done: str  # "{} were put in the queue again."
    icon: str
    run: Run
    is_allowed: Callable[[User], bool]
    place: int = 50


@dataclass(frozen=True)
class Outcome:
    done: int
    refused: Sequence[tuple[str, int]]  # why, how many
    sentence: str


_actions: dict[str, Action] = {}


def offer(action: Action) -> None:
    """Add an action to the list's bar. Called once, when the app that offers it starts."""
    _actions[action.name] = action


def actions_for(member: User) -> list[Action]:
    return sorted((action for action in _actions.values() if action.is_allowed(member)), key=lambda found: found.place)


def run(*, name: str, jobs: Iterable[Job], actor: User) -> Outcome:
    """Do it with each; what cannot be done is left as it was, with the reason. Raises DomainError when nothing was."""
    action = _actions.get(name)
    if action is None:
        raise DomainError("This cannot be done with many analyses.", "action_unknown")
    if not action.is_allowed(actor):
        raise DomainError(f"Your role ({actor.role_name.lower()}) does not let you do this.", "role_insufficient", 403)
    done, refused = 0, Counter[str]()
    for job in jobs:
        try:
            action.run(job, actor)
            done += 1
        except DomainError as error:
            refused[error.message] += 1
    if not done and not refused:
        raise DomainError("Choose at least one analysis.", "nothing_chosen")
    return Outcome(done, refused.most_common(), _told(action, done, refused))


def _told(action: Action, done: int, refused: Counter[str]) -> str:
    left = " ".join(f"{_analyses(number)} left out: {why}" for why, number in refused.most_common())
    return f"{action.done.format(_analyses(done))} {left}".strip() if done else f"Nothing was done. {left}"


def _analyses(number: int) -> str:
    return f"{number:,} {'analysis' if number == 1 else 'analyses'}"


def _rerun(job: Job, actor: User) -> None:
    from detection import services  # which shows the rooms above how to offer actions: the two know each other

    if not job.is_final:
        raise DomainError("It has not ended yet.", "job_not_ended", 409)
    services.rerun_job(job=job, actor=actor)


def _cancel(job: Job, actor: User) -> None:
    from detection import services

    services.cancel_job(job=job, actor=actor)


def offer_own() -> None:
    offer(Action("rerun", "Run again", "Run again: {}.", "again", _rerun, lambda member: member.can_submit, 10))
    offer(Action("cancel", "Stop them", "Stopped: {}.", "stop", _cancel, lambda member: member.can_submit, 20))
