"""What 0007 to 0013 do, in one step, for new databases."""

import accounts.sso.models
import deepfake.sealed_fields
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [('accounts', '0007_oauth'), ('accounts', '0008_sso'), ('accounts', '0009_scim'), ('accounts', '0010_privacy'), ('accounts', '0011_audit'), ('accounts', '0012_cors'), ('accounts', '0013_one_password_switch')]

    dependencies = [
        ('accounts', '0006_sign_in'),
        ('allauth_idp_oidc', '0003_client_allow_uri_wildcards'),
    ]

    operations = [
        migrations.CreateModel(
            name='AllowedOrigin',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('origin', models.CharField(db_index=True, max_length=255)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='allowed_origins', to='accounts.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organization', 'origin'), name='allowed_origin_once')],
            },
        ),
        migrations.CreateModel(
            name='AuditCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('seconds', models.FloatField()),
                ('is_full', models.BooleanField()),
                ('rows', models.BigIntegerField()),
                ('last_row', models.BigIntegerField(default=0)),
                ('head', models.CharField(max_length=64)),
                ('checkpoints', models.PositiveIntegerField(default=0)),
                ('problems', models.JSONField(default=list)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='AuditOnce',
            fields=[
                ('key', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='Consent',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('subject', deepfake.sealed_fields.SealedTextField(blank=True, context='consent.subject', editable=True)),
                ('subject_digest', models.CharField(blank=True, max_length=64)),
                ('purpose', models.CharField(max_length=40)),
                ('text_version', models.CharField(max_length=40)),
                ('text_sha256', models.CharField(max_length=64)),
                ('evidence', deepfake.sealed_fields.SealedJSONField(blank=True, context='consent.evidence', default=dict, editable=True)),
                ('about_type', models.CharField(blank=True, max_length=40)),
                ('about_id', models.CharField(blank=True, max_length=64)),
                ('given_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
                ('withdrawn_how', models.CharField(blank=True, max_length=200)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='consents', to='accounts.organization')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='consents', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['organization', 'subject_digest', 'purpose'], name='consent_subject'), models.Index(fields=['organization', 'user', 'purpose'], name='consent_user'), models.Index(fields=['about_type', 'about_id'], name='consent_about')],
            },
        ),
        migrations.CreateModel(
            name='DataRequest',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('export', 'Export'), ('erase', 'Erase')], max_length=6)),
                ('about', models.CharField(choices=[('member', 'A member'), ('person', 'A person in media')], max_length=6)),
                ('subject', deepfake.sealed_fields.SealedTextField(blank=True, context='data_request.subject', editable=True)),
                ('wanted', deepfake.sealed_fields.SealedJSONField(blank=True, context='data_request.wanted', default=dict, editable=True)),
                ('status', models.CharField(choices=[('queued', 'Waiting'), ('running', 'Under way'), ('done', 'Done'), ('partly', 'Done, but for what is on hold'), ('failed', 'Failed')], default='queued', max_length=8)),
                ('message', models.CharField(blank=True, max_length=300)),
                ('counts', models.JSONField(default=dict)),
                ('kept', models.JSONField(default=list)),
                ('proof', models.JSONField(default=dict)),
                ('archive_name', models.CharField(blank=True, max_length=200)),
                ('archive_sha256', models.CharField(blank=True, max_length=64)),
                ('archive_bytes', models.PositiveBigIntegerField(default=0)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('claimed_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('member', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='data_requests', to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='data_requests', to='accounts.organization')),
                ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='requested_data', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-created_at', '-id'],
                'indexes': [models.Index(fields=['organization', '-created_at'], name='data_request_newest')],
            },
        ),
        migrations.CreateModel(
            name='EmailDomain',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('domain', models.CharField(max_length=253)),
                ('token', models.CharField(default=accounts.sso.models._token, max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('verified_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='email_domains', to='accounts.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organization', 'domain'), name='email_domain_once'), models.UniqueConstraint(condition=models.Q(('verified_at__isnull', False)), fields=('domain',), name='email_domain_of_one')],
            },
        ),
        migrations.CreateModel(
            name='OAuthClient',
            fields=[
                ('client', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='registration', serialize=False, to='allauth_idp_oidc.client')),
                ('kind', models.CharField(choices=[('service', 'Service: acts for the organisation, without a person'), ('web', 'Web application: acts for a member, and can keep a secret'), ('native', 'App on a device or in a browser: acts for a member, keeps no secret')], max_length=10)),
                ('secret_hash', models.CharField(blank=True, max_length=64)),
                ('previous_secret_hash', models.CharField(blank=True, max_length=64)),
                ('previous_secret_until', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='oauth_clients', to='accounts.organization')),
            ],
        ),
        migrations.CreateModel(
            name='ProvisioningToken',
            fields=[
                ('organization', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='provisioning_token', serialize=False, to='accounts.organization')),
                ('hash', models.CharField(max_length=64, unique=True)),
                ('default_role', models.CharField(default='viewer', max_length=60)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='ScimUser',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('user_name', models.CharField(max_length=254)),
                ('external_id', models.CharField(blank=True, max_length=254)),
                ('display_name', models.CharField(blank=True, max_length=254)),
                ('formatted_name', models.CharField(blank=True, max_length=254)),
                ('emails', models.JSONField(default=list)),
                ('is_provisioned', models.BooleanField(default=False)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='scim_users', to='accounts.organization')),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='scim', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['organization', 'created_at'], name='scim_user_oldest')],
            },
        ),
        migrations.CreateModel(
            name='SsoConnection',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('oidc', 'OpenID Connect'), ('saml', 'SAML 2.0')], max_length=4)),
                ('name', models.CharField(max_length=60)),
                ('is_enabled', models.BooleanField(default=True)),
                ('issuer', models.CharField(blank=True, max_length=500)),
                ('client_id', models.CharField(blank=True, max_length=191)),
                ('sealed_secret', models.BinaryField(default=bytes)),
                ('metadata_url', models.CharField(blank=True, max_length=500)),
                ('metadata_xml', models.TextField(blank=True)),
                ('idp_entity_id', models.CharField(blank=True, max_length=500)),
                ('idp_sso_url', models.CharField(blank=True, max_length=500)),
                ('idp_certificates', models.JSONField(default=list)),
                ('vouches_for_emails', models.BooleanField(default=False)),
                ('makes_members', models.BooleanField(default=False)),
                ('default_role', models.CharField(default='viewer', max_length=60)),
                ('group_attribute', models.CharField(blank=True, default='groups', max_length=200)),
                ('group_roles', models.JSONField(default=list)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='sso_connections', to='accounts.organization')),
            ],
            options={
                'indexes': [models.Index(fields=['organization', 'name'], name='sso_connection_org')],
            },
        ),
        migrations.CreateModel(
            name='OAuthGrant',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('scopes', models.JSONField(default=list)),
                ('code_hash', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('last_used_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_because', models.CharField(blank=True, choices=[('member', 'taken back by the member'), ('administrator', 'revoked by an administrator'), ('client', 'given back by the program'), ('disabled', 'the program was switched off'), ('refresh_reused', 'a refresh token was used twice'), ('code_reused', 'an authorization code was used twice')], max_length=20)),
                ('client', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='accounts.oauthclient')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='oauth_grants', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['user', '-created_at'], name='oauth_grant_member')],
            },
        ),
        migrations.CreateModel(
            name='ScimGroup',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('display_name', models.CharField(max_length=254)),
                ('external_id', models.CharField(blank=True, max_length=254)),
                ('role', models.CharField(blank=True, max_length=60)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='scim_groups', to='accounts.organization')),
                ('members', models.ManyToManyField(related_name='groups', to='accounts.scimuser')),
            ],
            options={
                'indexes': [models.Index(fields=['organization', 'created_at'], name='scim_group_oldest')],
            },
        ),
        migrations.CreateModel(
            name='GrantToken',
            fields=[
                ('hash', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('is_refresh', models.BooleanField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('spent_at', models.DateTimeField(blank=True, null=True)),
                ('grant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to='accounts.oauthgrant')),
            ],
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(fields=['organization', 'action', '-id'], name='audit_org_action'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(fields=['organization', 'actor', '-id'], name='audit_org_actor'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(fields=['organization', 'api_key_prefix', '-id'], name='audit_org_key'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(fields=['organization', 'ip_address', '-id'], name='audit_org_address'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(fields=['organization', 'created_at'], name='audit_org_moment'),
        ),
    ]
