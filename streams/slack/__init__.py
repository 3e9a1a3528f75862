"""Slack's side of Stormweir beside notifications: clicks on buttons, the installation of the app, its channels."""
