-- As take.lua, of several limits, which admit the events if all do: of each its key
-- and its numbers, and in the reply whether it admits them and what it was before.
local reply, found, all = {now}, {}, true
for i, key in ipairs(KEYS) do
	local was = {take[i](key, from[i])}
	all = all and was[1]
	found[i] = was
	reply[4 * i - 2], reply[4 * i - 1], reply[4 * i], reply[4 * i + 1] = was[1] and 1 or 0, was[2], was[3], was[4]
end
if all and ARGV[1] == '1' then
	for i, key in ipairs(KEYS) do
		add[i](key, from[i], unpack(found[i], 2))
	end
end
return reply
