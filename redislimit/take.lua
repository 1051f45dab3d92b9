-- Decides on events under each of the limits whose keys these are, and admits
-- them if all do. ARGV is 1 to take and 0 to peek, and then of each limit its
-- kind and its numbers. The reply is now, and of each limit whether it admits them
-- and the three numbers that say what it was before.
if #KEYS == 1 then
	-- As below, without the tables: it takes a tenth less time.
	local ok, a, b, c, write = decide[ARGV[2]](KEYS[1], 3)
	if ok and ARGV[1] == '1' then write() end
	return {now, ok and 1 or 0, a, b, c}
end
local reply, writes, all, arg = {now}, {}, true, 2
for i = 1, #KEYS do
	local kind = ARGV[arg]
	local ok, a, b, c, write = decide[kind](KEYS[i], arg + 1)
	arg = arg + 1 + numbers[kind]
	all = all and ok
	writes[i] = write
	reply[4 * i - 2], reply[4 * i - 1], reply[4 * i], reply[4 * i + 1] = ok and 1 or 0, a, b, c
end
if all and ARGV[1] == '1' then
	for i = 1, #KEYS do writes[i]() end
end
return reply
