-- No step needs samples and soak any more. It names the candidate that was looked at.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["understudy.dev/request"] = "promote-full@" .. ((obj.status or {}).candidate or "") .. ";" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
