"""What `--json` prints: one document per verb, with a schema each (docs/json_output.md).

Every document is one object whose key `schema` names its kind and version. Within a version keys are added at most.
"""
