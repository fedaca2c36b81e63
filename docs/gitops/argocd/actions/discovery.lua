-- Which actions Argo CD offers on a DlqPolicy. Each sets annotations that the operator handles, and nothing in the spec:
-- a sync neither shows nor reverts them.

local annotations = obj.metadata.annotations or {}
local status = obj.status or {}
local paused = annotations["dlq-operator.dev/paused"] or ""
local is_paused = paused ~= "" and paused ~= "false"
local is_held = is_paused or obj.spec.suspend == true
local is_running = false
for _, condition in ipairs(status.conditions or {}) do
  is_running = is_running or (condition.type == "Running" and condition.status == "True")
end

return {
  run = { displayName = "Run now", iconClass = "fa fa-fw fa-play", disabled = is_held or is_running },
  approve = {
    displayName = "Approve the run", iconClass = "fa fa-fw fa-check", disabled = status.phase ~= "AwaitingApproval",
  },
  cancel = { displayName = "Cancel the run", iconClass = "fa fa-fw fa-stop", disabled = not is_running },
  pause = { displayName = "Pause", iconClass = "fa fa-fw fa-pause", disabled = is_paused },
  unpause = { displayName = "Unpause", iconClass = "fa fa-fw fa-redo", disabled = not is_paused },
  reset = { displayName = "Close the circuit", iconClass = "fa fa-fw fa-plug", disabled = status.phase ~= "CircuitOpen" },
}
