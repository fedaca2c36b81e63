"""Measures operators that work on the dead letter queue of Upstash Workflow, side by side. See README.md."""
