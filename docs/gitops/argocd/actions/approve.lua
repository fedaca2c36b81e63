-- Starts the run that waits for an approval.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dlq-operator.dev/approvedRun"] = obj.status.currentRun.approvalId
return obj
