-- A bucket's state where an event costs a fraction of a microsecond: it is followed
-- by the parts of one, in so many digits. Redis keeps that in the place of a pointer
-- while it is an int64.
local function setParts(key, tat, part, digits)
	local state = string.format('%.0f%0' .. digits .. '.0f', tat, part)
	call('SET', key, state, 'PXAT', math.ceil((tat + 1) / 1000))
end

-- The theoretical arrival time and its part; that of a fresh key is 0.
local function getParts(key, digits)
	local state = call('GET', key)
	if not state then return 0, 0 end
	local part, tat = split(state, digits)
	return tonumber(tat), part
end

-- The numbers are the cost of the events, and how late the theoretical arrival
-- time may be afterwards, each in microseconds and parts; how many parts a
-- microsecond has; a little more than the time in which the bucket fills; and the
-- digits.
local function takeParts(key, i)
	local cost, costPart, parts, fill, digits = ARGV[i] + 0, ARGV[i + 1] + 0, ARGV[i + 4] + 0, ARGV[i + 5] + 0, ARGV[i + 6] + 0
	local tat, part = getParts(key, digits)
	if tat > now + fill + patience * fill then
		tat, part = now + fill, 0
		setParts(key, tat, part, digits)
	end
	if tat < now then
		tat, part = now, 0
	end
	local after, afterPart = tat + cost, part + costPart
	if afterPart >= parts then
		after, afterPart = after + 1, afterPart - parts
	end
	local late = after - ARGV[i + 2] - now
	return late < 0 or late == 0 and afterPart <= ARGV[i + 3] + 0, tat, part, 0, after, afterPart
end

local function addParts(key, i, _, _, _, after, afterPart)
	setParts(key, after, afterPart, ARGV[i + 6])
end

-- The numbers are the cost of the events, and of a full bucket's, each in
-- microseconds and parts; how many parts a microsecond has; when the events were
-- admitted; and the digits.
local function refundParts(key, i)
	local cost, costPart, parts, digits = ARGV[i] + 0, ARGV[i + 1] + 0, ARGV[i + 4] + 0, ARGV[i + 6] + 0
	local tat, part = getParts(key, digits)
	if tat == 0 then return end
	-- The latest of now and of the earliest time at which this state was reached.
	local since, sincePart = tat - ARGV[i + 2], part - ARGV[i + 3]
	if sincePart < 0 then
		since, sincePart = since - 1, sincePart + parts
	end
	if since < now then
		since, sincePart = now, 0
	end
	-- What has flowed in since may have been lost to a full bucket.
	local flowed = since - ARGV[i + 5]
	if flowed >= 0 then
		cost, costPart = cost - flowed, costPart - sincePart
		if costPart < 0 then
			cost, costPart = cost - 1, costPart + parts
		end
		if cost < 0 then return end
	end
	tat, part = tat - cost, part - costPart
	if part < 0 then
		tat, part = tat - 1, part + parts
	end
	setParts(key, tat, part, digits)
end

