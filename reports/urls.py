"""Addresses of reports, for pages, for the API, and the public one where a report is verified."""

from django.urls import path

from reports import api, dashboard_views, design_views, issue_views, verify_views, views

app_name = "reports"

urlpatterns = [
    path("dashboard/", dashboard_views.dashboard, name="dashboard"),
    path("design/", design_views.design, name="design"),
    path("dashboard/panel/", dashboard_views.panel, name="dashboard_panel"),
    path("analyses/export", views.export, name="export"),
    path("analyses/<uuid:pk>/report", views.report, name="report"),
    path("reports/", issue_views.issues, name="issues"),
    path("reports/<uuid:pk>/revoke/", issue_views.revoke, name="revoke"),
    path("verify/", verify_views.verify, name="verify_any"),
    path("verify/<str:report_id>/", verify_views.verify, name="verify"),
    path("v1/reports/<str:job_id>", api.ReportView.as_view(), name="api_report"),
]
