"""The list can be filtered by API key: it stands in every index that the list is sorted by."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('detection', '0015_names'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='job',
            name='job_by_created',
        ),
        migrations.RemoveIndex(
            model_name='job',
            name='job_by_score',
        ),
        migrations.RemoveIndex(
            model_name='job',
            name='job_by_margin',
        ),
        migrations.RemoveIndex(
            model_name='job',
            name='job_by_finished',
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'created_at', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'api_key', 'source_host', 'is_sandbox', 'deleted_at', 'score'], name='job_by_created'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'score', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'api_key', 'source_host', 'is_sandbox', 'deleted_at', 'created_at'], name='job_by_score'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'margin', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'api_key', 'source_host', 'is_sandbox', 'deleted_at', 'score', 'created_at'], name='job_by_margin'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['organization', 'finished_at', 'id', 'final_label', 'kind', 'status', 'review_state', 'review_decision', 'reviewer', 'created_by', 'api_key', 'source_host', 'is_sandbox', 'deleted_at', 'score', 'created_at'], name='job_by_finished'),
        ),
    ]
