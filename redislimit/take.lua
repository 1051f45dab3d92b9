-- Decides on events under each of the limits whose keys these are, and admits
-- them if all do. ARGV is 1 to take and 0 to peek, and then of each limit its
-- kind and seven numbers. The reply is whether they are admitted, now, and of
-- each limit its three numbers.
local reply, writes, all = {0, now}, {}, true
for i = 1, #KEYS do
	local ok, a, b, c, write = decide[ARGV[8 * i - 6]](KEYS[i], 8 * i - 5)
	all = all and ok
	writes[i] = write
	reply[3 * i], reply[3 * i + 1], reply[3 * i + 2] = a, b, c
end
if all then
	reply[1] = 1
	for i = 1, #KEYS do
		if ARGV[1] == '1' then writes[i]() end
	end
end
return reply
