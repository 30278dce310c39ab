-- Which actions make sense now; the others are shown greyed.
local status = obj.status or {}
local candidate = status.candidate ~= nil and status.candidate ~= ""
local stable = status.stable ~= nil and status.stable ~= ""
local promotable = candidate and (status.phase == "Canary" or status.phase == "Shadow")
-- BlueGreen: the candidate has answered and waits for the word.
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Reconciling" and condition.reason == "WaitingForPromote" then
    promotable = true
  end
end

-- Only the revision that the spec asks for can be tried again.
local failed = false
for _, entry in ipairs(status.failed or {}) do
  if status.target ~= nil and entry.revision == status.target.revision then
    failed = true
  end
end

-- The newest promotion of another revision than the one that serves; history has the newest first.
local earlier = nil
for _, entry in ipairs(status.history or {}) do
  if earlier == nil and entry.revision ~= status.stable then
    earlier = entry.number
  end
end

local actions = {}
actions["abort"] = {["disabled"] = not (candidate and stable), ["iconClass"] = "fa fa-fw fa-undo"}
actions["pause"] = {["disabled"] = status.paused == true, ["iconClass"] = "fa fa-fw fa-pause"}
actions["promote"] = {["disabled"] = not promotable, ["iconClass"] = "fa fa-fw fa-step-forward"}
actions["promote-full"] = {["disabled"] = not promotable, ["iconClass"] = "fa fa-fw fa-fast-forward", ["displayName"] = "Promote fully"}
actions["resume"] = {["disabled"] = status.paused ~= true, ["iconClass"] = "fa fa-fw fa-play"}
actions["retry"] = {["disabled"] = not failed, ["iconClass"] = "fa fa-fw fa-redo"}
actions["rollback"] = {["disabled"] = earlier == nil, ["iconClass"] = "fa fa-fw fa-history"}
if earlier ~= nil then
  actions["rollback"]["displayName"] = "Roll back to number " .. earlier
end
return actions
