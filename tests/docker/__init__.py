"""The image and the compose file, checked as far as a machine without a container engine can."""
