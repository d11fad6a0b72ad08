"""Addresses of reports, for pages and for the API."""

from django.urls import path

from reports import api, dashboard_views, design_views, views

app_name = "reports"

urlpatterns = [
    path("dashboard/", dashboard_views.dashboard, name="dashboard"),
    path("design/", design_views.design, name="design"),
    path("dashboard/panel/", dashboard_views.panel, name="dashboard_panel"),
    path("analyses/<uuid:pk>/report", views.report, name="report"),
    path("v1/reports/<str:job_id>", api.ReportView.as_view(), name="api_report"),
]
