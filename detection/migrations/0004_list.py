"""What the list of analyses filters, sorts and searches by; rows that are there already are filled in last."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from urllib.parse import urlsplit

from django.conf import settings
from django.db import migrations, models
from django.db.models import Case, F, OuterRef, Subquery, Value, When
from django.db.models.functions import Abs, Coalesce

from detection import search

BLOCK = 500


def install_search(apps, schema_editor):
    search.install(schema_editor.connection)


def remove_search(apps, schema_editor):
    search.remove(schema_editor.connection)


def fill_in(apps, schema_editor):
    """Copy what jobs are listed by. Items that only look alike are not brought together here: that needs pictures."""
    media, job, result, text = (
        apps.get_model("detection", name) for name in ("Media", "Job", "InferenceResult", "MediaText")
    )
    job.objects.update(kind=Subquery(media.objects.filter(pk=OuterRef("media")).values("kind")[:1]))
    own = result.objects.filter(job=OuterRef("pk"))
    middle = (F("threshold_fake") + F("threshold_real")) / 2
    verdict = Coalesce(Subquery(own.values("label")[:1]), Value(""))
    job.objects.update(
        score=Subquery(own.values("score")[:1]),
        margin=Subquery(own.annotate(distance=Abs(F("score") - middle)).values("distance")[:1]),
        final_label=Case(When(review_label="", then=verdict), default=F("review_label")),
    )
    same = media.objects.filter(organization=OuterRef("organization"), sha256=OuterRef("sha256")).order_by("created_at", "id")
    media.objects.exclude(sha256="").update(look=Subquery(same.values("pk")[:1]))
    texts = []
    for item in media.objects.order_by("created_at", "id").only("id", "organization", "filename", "source_url").iterator():
        texts.append(
            text(
                media_id=item.pk,
                organization_id=item.organization_id,
                text=f"{item.filename}\n{item.source_url}".lower(),
            )
        )
        if len(texts) >= BLOCK:
            text.objects.bulk_create(texts)
            texts = []
        if item.source_url:
            host = (urlsplit(item.source_url).hostname or "").lower().removeprefix("www.")[:100]
            job.objects.filter(media_id=item.pk).update(source_host=host)
    text.objects.bulk_create(texts)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_audit_target_index'),
        ('detection', '0003_job_review'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DefaultView',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
        ),
        migrations.CreateModel(
            name='MediaText',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=60)),
                ('query', models.CharField(blank=True, max_length=2000)),
                ('is_shared', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.RemoveIndex(
            model_name='job',
            name='job_org_newest',
        ),
        migrations.AddField(
            model_name='job',
            name='deleted_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='deleted_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='job',
            name='deletion',
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='final_label',
            field=models.CharField(blank=True, choices=[('real', 'Real'), ('fake', 'Fake'), ('inconclusive', 'Inconclusive')], max_length=12),
        ),
        migrations.AddField(
            model_name='job',
            name='kind',
            field=models.CharField(blank=True, choices=[('image', 'Image'), ('video', 'Video'), ('audio', 'Audio')], max_length=8),
        ),
        migrations.AddField(
            model_name='job',
            name='margin',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='reviewer',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='job',
            name='score',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='source_host',
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AddField(
            model_name='media',
            name='deleted_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='media',
            name='look',
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'created_at', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'source_host', 'deleted_at', 'score'], name='job_by_created'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'score', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'source_host', 'deleted_at', 'created_at'], name='job_by_score'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'margin', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'source_host', 'deleted_at', 'score', 'created_at'], name='job_by_margin'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'finished_at', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'source_host', 'deleted_at', 'score', 'created_at'], name='job_by_finished'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['deleted_at'], name='job_deleted'),
        ),
        migrations.AddIndex(
            model_name='media',
            index=models.Index(fields=['organization', 'look'], name='media_org_look'),
        ),
        migrations.AddField(
            model_name='defaultview',
            name='user',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='default_view', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='mediatext',
            name='media',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='text', to='detection.media'),
        ),
        migrations.AddField(
            model_name='mediatext',
            name='organization',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.organization'),
        ),
        migrations.AddField(
            model_name='savedview',
            name='organization',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='saved_views', to='accounts.organization'),
        ),
        migrations.AddField(
            model_name='savedview',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='saved_views', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='defaultview',
            name='view',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='detection.savedview'),
        ),
        migrations.AddConstraint(
            model_name='savedview',
            constraint=models.UniqueConstraint(fields=('owner', 'name'), name='view_name_per_owner'),
        ),
        migrations.RunPython(install_search, remove_search),
        migrations.RunPython(fill_in, migrations.RunPython.noop),
    ]
