"""The stages of the pipeline, pure: records and partition-local state in, outputs out."""
