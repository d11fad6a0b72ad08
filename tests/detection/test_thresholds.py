"""Threshold profiles change by two people: proposing, deciding, history, pages, the back office."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditLog, Role
from deepfake.errors import DomainError
from detection import services as detection_services
from detection import threshold_services as services
from detection.models import MediaKind, ThresholdProfile, ThresholdProposal, ThresholdVersion
from tests import factories
from tests.detection.test_what_if import analysed

pytestmark = pytest.mark.services
URL = "/settings/thresholds/"
RULE = {"kind": "image", "platform": "", "host": "example.org", "codec": ""}
AFTER = {**RULE, "fake_at": 0.9, "real_below": 0.2}


@pytest.fixture
def own(organization):
    return ThresholdProfile.objects.create(organization=organization, name="newsdesk", **AFTER)


@pytest.fixture
def proposal(organization, own, bob):
    return services.propose(
        organization=organization,
        actor=bob,
        action="change",
        profile=own,
        after={**AFTER, "fake_at": 0.8},
        why="Too few fakes are found.",
    )


def actions(organization):
    return list(AuditLog.objects.filter(organization=organization).order_by("id").values_list("action", flat=True))


def test_a_change_takes_two_people(organization, own, proposal, bob, administrator):
    own.refresh_from_db()
    assert own.fake_at == 0.9
    with pytest.raises(DomainError, match="second person") as refused:
        services.approve(proposal=proposal, actor=bob, answer="Agreed.")
    assert refused.value.code == "own_proposal"
    services.approve(proposal=proposal, actor=administrator, answer="Agreed.")
    own.refresh_from_db()
    assert (own.fake_at, own.version) == (0.8, 2)
    kept = ThresholdVersion.objects.get(profile=own)
    assert (kept.number, kept.content["fake_at"], kept.proposal, kept.changed_by) == (2, 0.8, proposal, administrator)
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decided_by, proposal.effect["looked_at"]) == ("approved", administrator, 0)
    assert actions(organization) == ["threshold.proposed", "threshold.approved"]


def test_the_database_refuses_self_approval_too(proposal, bob):
    with pytest.raises(IntegrityError), transaction.atomic():
        ThresholdProposal.objects.filter(pk=proposal.pk).update(state="approved", decided_by=bob)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST, Role.DATA_SCIENTIST])
def test_who_may_not_decide(organization, proposal, role):
    member = factories.make_user(organization, "somebody", role)
    for work in (services.approve, services.reject):
        with pytest.raises(DomainError) as refused:
            work(proposal=proposal, actor=member, answer="x")
        assert refused.value.status == 403


@pytest.mark.parametrize(("role", "may"), [("viewer", 0), ("analyst", 0), ("data_scientist", 1), ("reviewer", 1)])
def test_who_may_propose(organization, role, may):
    member = factories.make_user(organization, "somebody", role)
    wish = {"organization": organization, "actor": member, "action": "create", "name": "new_one", "why": "x"}
    if may:
        assert services.propose(**wish, after=AFTER).is_open
        return
    with pytest.raises(DomainError) as refused:
        services.propose(**wish, after=AFTER)
    assert refused.value.status == 403


def test_reject_needs_a_reason_and_changes_nothing(organization, own, proposal, administrator):
    with pytest.raises(DomainError, match="why"):
        services.reject(proposal=proposal, actor=administrator, answer=" ")
    services.reject(proposal=proposal, actor=administrator, answer="Two false alarms are too many.")
    own.refresh_from_db()
    assert (own.fake_at, own.version) == (0.9, 1)
    with pytest.raises(DomainError) as refused:
        services.approve(proposal=proposal, actor=administrator, answer="Agreed.")
    assert refused.value.code == "proposal_closed"
    assert actions(organization)[-1] == "threshold.rejected"


def test_approval_needs_a_reason_that_stays(client, organization, own, proposal, administrator):
    with pytest.raises(DomainError, match="why") as refused:
        services.approve(proposal=proposal, actor=administrator, answer="  ")
    assert refused.value.code == "reason_required"
    client.force_login(administrator)
    page = client.get(proposal.get_absolute_url()).content.decode()
    assert "Approving holds at once" in page
    answer = client.post(f"{proposal.get_absolute_url()}decide/", {"approve": "1"}, follow=True)
    assert "Say why it is approved" in answer.content.decode()
    proposal.refresh_from_db()
    assert proposal.is_open
    client.post(f"{proposal.get_absolute_url()}decide/", {"approve": "1", "answer": "Tried on last week."})
    assert AuditLog.objects.get(action="threshold.approved").details["answer"] == "Tried on last week."
    assert "Tried on last week." in client.get(proposal.get_absolute_url()).content.decode()


def test_the_way_back_is_one_press_away(client, own, proposal, administrator):
    services.approve(proposal=proposal, actor=administrator, answer="Agreed.")
    client.force_login(administrator)
    back = f"{URL}{own.pk}/change/?back"
    for page in (proposal.get_absolute_url(), f"{URL}{own.pk}/"):
        assert f'href="{back}"' in client.get(page).content.decode()
    form = client.get(back).context["form"]
    sent = {name: form.data[name] for name in (*RULE, "real_below", "fake_at", "why")}
    made = client.post(back, sent)
    undo = ThresholdProposal.objects.get(state="open")
    assert made.headers["Location"] == undo.get_absolute_url()
    assert (undo.after, undo.why) == (AFTER, "Back to what held before version 2.")
    assert (
        "?back" not in client.get(proposal.get_absolute_url().replace(str(proposal.pk), str(undo.pk))).content.decode()
    )


@pytest.mark.parametrize("action", ["create", "retire"])
def test_the_way_back_of_a_new_and_of_a_retired_profile(client, organization, own, bob, administrator, action):
    wish = {"organization": organization, "actor": bob, "action": action, "why": "x"}
    wish |= {"profile": own} if action == "retire" else {"name": "another", "after": AFTER}
    made = services.propose(**wish)
    profile = services.approve(proposal=made, actor=administrator, answer="Agreed.")
    client.force_login(administrator)
    url = f"{URL}new/?again=newsdesk" if action == "retire" else f"{URL}{profile.pk}/retire/"
    assert f'href="{url}"' in client.get(made.get_absolute_url()).content.decode()
    opened = client.get(url).context
    assert (opened["action"], opened["form"].data["fake_at"]) == (
        {"retire": "create", "create": "retire"}[action],
        "90",
    )


def test_genuine_items_that_would_turn_fake_are_a_warning_beside_the_button(
    client, organization, own, bob, administrator
):
    for label in ("real", "real", "fake", ""):
        analysed(organization, 0.5, source_url="https://example.org/a.png", review_label=label)
    wish = {"organization": organization, "actor": bob, "action": "change", "profile": own, "why": "x"}
    proposal = services.propose(**wish, after={**RULE, "fake_at": 0.02, "real_below": 0.01})
    client.force_login(administrator)
    page = client.get(proposal.get_absolute_url()).content.decode()
    beside = page.partition('class="set-card proposal-form"')[2].partition("</form>")[0]
    assert "<strong>2 of 2 genuine items would turn fake</strong>" in beside
    assert "<strong>4 would read differently</strong>" in beside
    services.withdraw(proposal=proposal, actor=bob)
    calm = services.propose(**wish, after={**RULE, "fake_at": 0.95, "real_below": 0.2})
    assert "would turn fake</strong>" not in client.get(calm.get_absolute_url()).content.decode()


def test_only_the_proposer_withdraws(organization, proposal, bob, administrator):
    with pytest.raises(DomainError):
        services.withdraw(proposal=proposal, actor=administrator)
    services.withdraw(proposal=proposal, actor=bob)
    proposal.refresh_from_db()
    assert proposal.state == "withdrawn"
    assert actions(organization)[-1] == "threshold.withdrawn"


def test_one_open_proposal_per_profile(organization, own, proposal, administrator):
    with pytest.raises(DomainError) as refused:
        services.propose(organization=organization, actor=administrator, action="retire", profile=own, why="x")
    assert refused.value.code == "proposal_open"


def test_a_proposal_about_a_profile_that_changed_since_is_stale(own, proposal, administrator):
    ThresholdProfile.objects.filter(pk=own.pk).update(version=7)
    with pytest.raises(DomainError) as refused:
        services.approve(proposal=proposal, actor=administrator, answer="Agreed.")
    assert refused.value.code == "profile_changed"


def test_the_shipped_profiles_are_read_only(organization, bob):
    shipped = ThresholdProfile.objects.get(organization=None, name="default_image")
    with pytest.raises(DomainError) as refused:
        services.propose(organization=organization, actor=bob, action="change", profile=shipped, after=AFTER, why="x")
    assert refused.value.code == "profile_shipped"


def test_another_organisations_profile_does_not_exist(own, charlie):
    charlie.role = Role.ADMIN
    with pytest.raises(DomainError) as refused:
        services.propose(organization=charlie.organization, actor=charlie, action="retire", profile=own, why="x")
    assert refused.value.code == "profile_unknown"


def test_a_new_default_takes_the_shipped_ones_place_and_retiring_it_gives_it_back(organization, bob, administrator):
    wish = {"organization": organization, "actor": bob, "why": "Our pictures are re-encoded."}
    made = services.propose(**wish, action="create", name="default_image", after=AFTER)
    assert made.after == {"kind": "image", "platform": "", "host": "", "codec": "", "fake_at": 0.9, "real_below": 0.2}
    own = services.approve(proposal=made, actor=administrator, answer="Agreed.")
    assert detection_services.find_profile(organization, "default_image") == own
    services.approve(
        proposal=services.propose(**wish, action="retire", profile=own), actor=administrator, answer="Agreed."
    )
    assert detection_services.find_profile(organization, "default_image").organization is None
    again = services.propose(**wish, action="create", name="default_image", after={**AFTER, "fake_at": 0.95})
    own.refresh_from_db()
    assert services.approve(proposal=again, actor=administrator, answer="Agreed.") == own
    assert [version.number for version in own.versions.all()] == [3, 2, 1]


def test_an_analysis_under_a_retired_profile_can_be_run_again(organization, alice, own):
    job = factories.make_job(organization=organization, status="completed", threshold_profile=own, created_by=alice)
    assert detection_services.rerun_job(job=job, actor=alice).threshold_profile == own
    own.retired_at = timezone.now()
    own.save()
    job.refresh_from_db()
    assert detection_services.rerun_job(job=job, actor=alice).threshold_profile is None


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"fake_at": 0.1}, "thresholds_invalid"),
        ({"real_below": -0.1}, "thresholds_invalid"),
        ({"fake_at": float("nan")}, "thresholds_invalid"),
        ({"host": "https://example.org/a"}, "rule_invalid"),
        ({"kind": "hologram"}, "rule_invalid"),
        ({"platform": "nowhere"}, "rule_invalid"),
        ({"codec": "h 264"}, "rule_invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(organization, bob, wrong, code):
    with pytest.raises(DomainError) as refused:
        services.propose(
            organization=organization, actor=bob, action="create", name="odd", after=AFTER | wrong, why="x"
        )
    assert refused.value.code == code


# Pages ----------------------------------------------------------------------------------------------------------------


def pages(own, proposal):
    return [
        URL,
        f"{URL}new/",
        f"{URL}{own.pk}/",
        f"{URL}{own.pk}/change/",
        f"{URL}{own.pk}/retire/",
        proposal.get_absolute_url(),
    ]


def test_pages_for_a_reviewer_anonymous_and_an_outsider(client, own, proposal, bob, charlie):
    for url in pages(own, proposal):
        assert client.get(url).headers["Location"].startswith(reverse("account_login"))
    client.force_login(bob)
    for url in pages(own, proposal):
        assert client.get(url).status_code == 200, url
    client.force_login(charlie)
    for url in pages(own, proposal)[2:]:
        assert client.get(url).status_code in (403, 404), url
    assert "newsdesk" not in client.get(URL).content.decode()
    decide = f"{proposal.get_absolute_url()}decide/"
    assert client.post(decide, {"approve": "1"}).status_code == 403
    client.force_login(factories.make_user(charlie.organization, "otto", Role.REVIEWER))
    assert client.post(decide, {"approve": "1"}).status_code == 404


def test_everybody_reads_the_list_and_sees_no_way_to_propose(client, own, vera):
    client.force_login(vera)
    page = client.get(URL).content.decode()
    assert "newsdesk" in page
    assert "Propose a profile" not in page
    assert client.get(f"{URL}new/").status_code == 403


def test_preview_then_propose_then_approve_by_another(client, organization, own, bob, administrator):
    analysed(organization, 0.5, source_url="https://example.org/a.png", filename="borderline.png")
    client.force_login(bob)
    given = {**RULE, "real_below": "1", "fake_at": "2", "why": "For a test."}
    page = client.post(f"{URL}{own.pk}/change/", given | {"preview": "1"}).content.decode()
    assert "Of the newest 1 verdict, 1 would be judged by other thresholds" in page
    assert "borderline.png" in page
    assert not ThresholdProposal.objects.exists()
    made = client.post(f"{URL}{own.pk}/change/", given)
    proposal = ThresholdProposal.objects.get()
    assert made.headers["Location"] == proposal.get_absolute_url()
    assert "Withdraw" in client.get(proposal.get_absolute_url()).content.decode()
    assert client.post(f"{proposal.get_absolute_url()}decide/", {"approve": "1"}).status_code == 403
    client.force_login(administrator)
    client.post(f"{proposal.get_absolute_url()}decide/", {"approve": "1", "answer": "Fine."})
    own.refresh_from_db()
    assert own.fake_at == 0.02
    page = client.get(f"{URL}{own.pk}/").content.decode()
    assert "bob, approved by ada" in page


def test_a_refused_form_keeps_what_was_typed(client, own, bob):
    client.force_login(bob)
    answer = client.post(f"{URL}{own.pk}/change/", {**RULE, "real_below": "90", "fake_at": "10", "why": "Kept words."})
    assert answer.status_code == 400
    assert "Kept words." in answer.content.decode()
    assert "must not lie below" in answer.content.decode()


def test_the_page_says_which_profile_an_upload_would_get(client, own, vera):
    client.force_login(vera)
    assert client.get(URL, {"kind": "image", "host": "www.example.org"}).context["chosen"] == own
    assert client.get(URL, {"kind": "audio", "host": "example.org"}).context["chosen"].name == "default_audio"


@pytest.mark.parametrize("end", ["", "new/"])
def test_wrong_method(client, bob, end):
    client.force_login(bob)
    assert client.put(URL + end).status_code == 405


# The back office ------------------------------------------------------------------------------------------------------


def test_an_operators_change_is_written_down(client, organization, own):
    root = factories.make_user(organization, "root", Role.ADMIN, is_staff=True, is_superuser=True)
    client.force_login(root)
    shown = client.get(f"/admin/detection/thresholdprofile/{own.pk}/change/")
    assert shown.status_code == 200
    fields = {"organization": organization.pk, "name": "newsdesk", "domain": "", **RULE, "fake_at": 0.7}
    fields |= {"real_below": 0.2, "versions-TOTAL_FORMS": 0, "versions-INITIAL_FORMS": 0}
    answer = client.post(f"/admin/detection/thresholdprofile/{own.pk}/change/", fields)
    assert answer.status_code == 302
    own.refresh_from_db()
    assert (own.fake_at, own.version) == (0.7, 2)
    row = AuditLog.objects.get(action="threshold.changed_by_operator")
    assert (row.actor, row.details["before"]["fake_at"], row.details["after"]["fake_at"]) == (root, 0.9, 0.7)
    assert own.versions.get().changed_by == root
    assert client.get(f"/admin/detection/thresholdprofile/{own.pk}/delete/").status_code == 403


def test_proposals_and_versions_are_read_only_there(client, organization, proposal, own, administrator):
    services.approve(proposal=proposal, actor=administrator, answer="Agreed.")
    client.force_login(factories.make_user(organization, "root", Role.ADMIN, is_staff=True, is_superuser=True))
    for name, row in (("thresholdproposal", proposal), ("thresholdversion", own.versions.get())):
        page = f"/admin/detection/{name}/{row.pk}/"
        assert client.get(f"{page}change/").status_code == 200
        assert client.post(f"{page}change/", {"why": "other"}).status_code == 403
        assert client.get(f"{page}delete/").status_code == 403
        assert client.get(f"/admin/detection/{name}/add/").status_code == 403


def test_own_thresholds_in_place_of_shipped_ones_say_so(client, organization, bob):
    wanted = {"kind": "", "platform": "", "host": "", "codec": "", "fake_at": 0.8, "real_below": 0.2}
    found = services.propose(
        organization=organization, actor=bob, action="create", profile=None, name="default_image", after=wanted, why="x"
    )
    client.force_login(bob)
    page = client.get(found.get_absolute_url()).content.decode()
    assert "Own thresholds in place of the shipped default_image" in page
    kind = str(MediaKind.IMAGE.label)
    assert f"<td>{kind}</td><td>{kind}</td>" in page.replace("<strong>", "").replace("</strong>", "")
