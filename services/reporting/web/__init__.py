"""The console: pages for the people who look after learners, in Chinese and English, on the same figures as the JSON routes."""

from services.reporting.web.pages import mount

__all__ = ["mount"]
