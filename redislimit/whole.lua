-- A bucket's state is its theoretical arrival time, a decimal number of
-- microseconds. Where an event costs a whole number of them, that is all. Redis
-- keeps it in the place of a pointer.
local function setWhole(key, tat)
	call('SET', key, tat, 'PXAT', math.ceil(tat / 1000))
end

-- The numbers are the cost of the events, how late the theoretical arrival time
-- may be afterwards, and a little more than the time in which the bucket fills.
local function takeWhole(key, i)
	local tat, fill = tonumber(call('GET', key) or 0), ARGV[i + 2] + 0
	if tat > now + fill + patience * fill then
		tat = now + fill
		setWhole(key, tat)
	end
	if tat < now then tat = now end
	return tat + ARGV[i] - ARGV[i + 1] <= now, tat, 0, 0
end

local function addWhole(key, i, tat)
	setWhole(key, tat + ARGV[i])
end

-- The numbers are the cost of the events, that of a full bucket's, and when the
-- events were admitted.
local function refundWhole(key, i)
	local cost, charged = ARGV[i] + 0, ARGV[i + 2] + 0
	local tat = tonumber(call('GET', key))
	if not tat then return end
	-- From then until now, or until the earliest time at which this state was
	-- reached. What has flowed in since may have been lost to a full bucket.
	local flowed = math.max(now, tat - ARGV[i + 1]) - charged
	if flowed < cost then
		setWhole(key, tat - cost + math.max(flowed, 0))
	end
end

