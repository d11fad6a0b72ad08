"""Addresses of reports, for pages and for the API."""

from django.urls import path

from reports import api, views

app_name = "reports"

urlpatterns = [
    path("analyses/<uuid:pk>/report", views.report, name="report"),
    path("v1/reports/<str:job_id>", api.ReportView.as_view(), name="api_report"),
]
