-- The current step needs no further samples and soak. It names the candidate that was looked at.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["understudy.dev/request"] = "promote@" .. ((obj.status or {}).candidate or "") .. ";" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
