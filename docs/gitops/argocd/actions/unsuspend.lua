-- Lets a policy continue that an annotation holds.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/paused"] = "false"
return obj
