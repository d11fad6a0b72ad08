"""What 0001 to 0004 do, in one step, for new databases."""

import deepfake.sealed_fields
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [('review', '0001_review'), ('review', '0002_decision_case_reviewer'), ('review', '0003_sealed_fields'), ('review', '0004_uncertain_from')]

    initial = True

    dependencies = [
        ('accounts', '0013_one_password_switch'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('detection', '0012_sealed_fields'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReviewPreference',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='review_preference', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('veil', models.CharField(choices=[('all', 'All material'), ('harsh', 'Only material marked as harsh'), ('off', 'Nothing')], default='all', max_length=6)),
                ('blurs', models.BooleanField(default=True)),
                ('greys', models.BooleanField(default=True)),
                ('mutes', models.BooleanField(default=True)),
                ('has_shortcuts', models.BooleanField(default=True)),
            ],
        ),
        migrations.CreateModel(
            name='AppealLink',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='appeal_links', to='detection.job')),
            ],
        ),
        migrations.CreateModel(
            name='KnownItem',
            fields=[
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='known_item', serialize=False, to='detection.job')),
                ('truth', models.CharField(choices=[('real', 'Real'), ('fake', 'Fake')], max_length=12)),
                ('source', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
            ],
        ),
        migrations.CreateModel(
            name='ReviewCase',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('open', 'In review'), ('second_opinion', 'Second opinion'), ('escalated', 'Escalated'), ('decided', 'Decided')], default='open', max_length=14)),
                ('reason', models.CharField(choices=[('appeal', 'Appeal'), ('disagreement', 'Checks disagree'), ('uncertain', 'Uncertain verdict'), ('manual', 'Sent by a colleague'), ('audit', 'Random audit')], max_length=12)),
                ('grounds', models.JSONField(default=list)),
                ('priority', models.SmallIntegerField(choices=[(0, 'Low'), (1, 'Normal'), (2, 'High'), (3, 'Urgent')], default=1)),
                ('opinions_wanted', models.PositiveSmallIntegerField(default=1)),
                ('is_harsh', models.BooleanField(default=False)),
                ('opened_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('due_at', models.DateTimeField()),
                ('claimed_at', models.DateTimeField(blank=True, null=True)),
                ('claimed_until', models.DateTimeField(blank=True, null=True)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('outcome', models.CharField(blank=True, choices=[('confirm', 'Confirmed'), ('override', 'Overridden'), ('cannot_tell', 'Cannot tell'), ('escalate', 'Escalated')], max_length=12)),
                ('label', models.CharField(blank=True, choices=[('real', 'Real'), ('fake', 'Fake'), ('inconclusive', 'Inconclusive')], max_length=12)),
                ('claimed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='claimed_cases', to=settings.AUTH_USER_MODEL)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='review_cases', to='detection.job')),
                ('opened_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='review_cases', to='accounts.organization')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('closed_at', None)), fields=['organization', '-priority', 'due_at', 'id'], name='case_queue'), models.Index(condition=models.Q(('closed_at__isnull', False)), fields=['organization', '-closed_at', '-id'], name='case_decided')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('closed_at', None)), fields=('job',), name='one_open_case_per_job'), models.CheckConstraint(condition=models.Q(models.Q(('closed_at', None), ('label', '')), models.Q(('closed_at__isnull', False), ('state', 'decided')), _connector='OR'), name='case_closed_when_decided')],
            },
        ),
        migrations.CreateModel(
            name='ReviewSettings',
            fields=[
                ('organization', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='review_settings', serialize=False, to='accounts.organization')),
                ('opens_uncertain', models.BooleanField(default=True)),
                ('uncertain_from', models.FloatField(default=0.35)),
                ('uncertain_margin', models.FloatField(default=0.05)),
                ('opens_disagreement', models.BooleanField(default=True)),
                ('disagreement_gap', models.FloatField(default=0.6)),
                ('audit_rate', models.FloatField(default=0.02)),
                ('second_opinion_rate', models.FloatField(default=0.1)),
                ('sla_urgent_h', models.PositiveSmallIntegerField(default=4)),
                ('sla_high_h', models.PositiveSmallIntegerField(default=8)),
                ('sla_normal_h', models.PositiveSmallIntegerField(default=24)),
                ('sla_low_h', models.PositiveSmallIntegerField(default=72)),
                ('claim_minutes', models.PositiveSmallIntegerField(default=30)),
                ('undo_minutes', models.PositiveSmallIntegerField(default=10)),
                ('appeal_days', models.PositiveSmallIntegerField(default=30)),
            ],
            options={
                'verbose_name_plural': 'review settings',
                'constraints': [models.CheckConstraint(condition=models.Q(('audit_rate__range', (0, 1)), ('disagreement_gap__range', (0, 1)), ('second_opinion_rate__range', (0, 1)), ('uncertain_margin__range', (0, 0.5))), name='review_rates_are_shares'), models.CheckConstraint(condition=models.Q(('uncertain_from__range', (0, 1))), name='review_uncertain_from_is_a_share')],
            },
        ),
        migrations.CreateModel(
            name='Decision',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('round', models.CharField(choices=[('first', 'First opinion'), ('second', 'Second opinion'), ('final', 'After escalation')], max_length=6)),
                ('outcome', models.CharField(choices=[('confirm', 'Confirmed'), ('override', 'Overridden'), ('cannot_tell', 'Cannot tell'), ('escalate', 'Escalated')], max_length=12)),
                ('label', models.CharField(blank=True, choices=[('real', 'Real'), ('fake', 'Fake'), ('inconclusive', 'Inconclusive')], max_length=12)),
                ('machine_label', models.CharField(choices=[('real', 'Real'), ('fake', 'Fake'), ('inconclusive', 'Inconclusive')], max_length=12)),
                ('reasons', models.JSONField(default=list)),
                ('helpfulness', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('asks_second', models.BooleanField(default=False)),
                ('answer', deepfake.sealed_fields.SealedTextField(blank=True, context='decision.answer', editable=True)),
                ('seconds', models.FloatField(blank=True, null=True)),
                ('batch', models.UUIDField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('undone_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization')),
                ('reviewer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to=settings.AUTH_USER_MODEL)),
                ('undone_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='decisions', to='review.reviewcase')),
            ],
            options={
                'indexes': [models.Index(fields=['organization', '-created_at'], name='decision_org_newest'), models.Index(fields=['reviewer', '-created_at'], name='decision_by_newest'), models.Index(fields=['case', 'reviewer'], name='decision_case_reviewer'), models.Index(condition=models.Q(('batch__isnull', False)), fields=['batch'], name='decision_batch')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('undone_at', None)), fields=('case', 'round'), name='one_opinion_per_round'), models.CheckConstraint(condition=models.Q(('helpfulness', None), ('helpfulness__range', (1, 5)), _connector='OR'), name='helpfulness_1_to_5')],
            },
        ),
        migrations.CreateModel(
            name='CaseThresholds',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('fake_at', models.FloatField()),
                ('real_below', models.FloatField()),
                ('reason', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
                ('author', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='thresholds', to='review.reviewcase')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('withdrawn_at', None)), fields=('case',), name='one_threshold_override_per_case'), models.CheckConstraint(condition=models.Q(('fake_at__lte', 1), ('real_below__gte', 0), ('real_below__lte', models.F('fake_at'))), name='case_thresholds_ordered')],
            },
        ),
        migrations.CreateModel(
            name='Appeal',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('text', deepfake.sealed_fields.SealedTextField(context='appeal.text', editable=True)),
                ('email', deepfake.sealed_fields.SealedTextField(blank=True, context='appeal.email', editable=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('answered_at', models.DateTimeField(blank=True, null=True)),
                ('answer', deepfake.sealed_fields.SealedTextField(blank=True, context='appeal.answer', editable=True)),
                ('label', models.CharField(blank=True, choices=[('real', 'Real'), ('fake', 'Fake'), ('inconclusive', 'Inconclusive')], max_length=12)),
                ('told_at', models.DateTimeField(blank=True, null=True)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='appeals', to='detection.job')),
                ('link', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='appeals', to='review.appeallink')),
                ('case', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='appeals', to='review.reviewcase')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('answered_at', None)), fields=('job',), name='one_open_appeal_per_job')],
            },
        ),
        migrations.CreateModel(
            name='Annotation',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('text', deepfake.sealed_fields.SealedTextField(blank=True, context='annotation.text', editable=True)),
                ('start_s', models.FloatField(blank=True, null=True)),
                ('end_s', models.FloatField(blank=True, null=True)),
                ('box', models.JSONField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('author', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('case', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='annotations', to='review.reviewcase')),
            ],
        ),
        migrations.CreateModel(
            name='Note',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('text', deepfake.sealed_fields.SealedTextField(context='note.text', editable=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('author', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('decision', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='note', to='review.decision')),
                ('case', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notes', to='review.reviewcase')),
            ],
        ),
        migrations.CreateModel(
            name='Mention',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('seen_at', models.DateTimeField(blank=True, null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mentions', to=settings.AUTH_USER_MODEL)),
                ('note', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mentions', to='review.note')),
            ],
            options={
                'indexes': [models.Index(fields=['user', '-created_at'], name='mention_newest')],
                'constraints': [models.UniqueConstraint(fields=('note', 'user'), name='mentioned_once_per_note')],
            },
        ),
    ]
