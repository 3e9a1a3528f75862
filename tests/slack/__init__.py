"""Slack beside notifications: clicks and the installation of the app."""
