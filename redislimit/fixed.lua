-- A fixed window's state is its number since the epoch, and then, in so many digits,
-- what is used of it. While that is an int64, Redis keeps it in the place of a
-- pointer.
local function setFixed(key, index, used, width, offset, digits)
	local state = string.format('%.0f%0' .. digits .. '.0f', index, used)
	call('SET', key, state, 'PXAT', math.ceil(((index + 1) * width + offset) / 1000))
end

-- The numbers are those of the events, the limit, the width of a window, the
-- offset, and the digits.
local function takeFixed(key, i)
	local n, limit, width, offset, digits = ARGV[i] + 0, ARGV[i + 1] + 0, ARGV[i + 2] + 0, ARGV[i + 3] + 0, ARGV[i + 4] + 0
	local index, used = math.floor((now - offset) / width), 0
	local state = call('GET', key)
	if state then
		local u, rest = split(state, digits)
		local at = tonumber(rest)
		if at > index + patience then
			at = index + 1
			setFixed(key, at, u, width, offset, digits)
		end
		if at >= index then index, used = at, u end
	end
	return used + n <= limit, index, used, 0
end

local function addFixed(key, i, index, used)
	setFixed(key, index, used + ARGV[i], ARGV[i + 2] + 0, ARGV[i + 3] + 0, ARGV[i + 4])
end

-- The numbers are those of the events, the window they were counted in, and then
-- as above.
local function refundFixed(key, i)
	local state = call('GET', key)
	if not state then return end
	local used, index = split(state, ARGV[i + 4] + 0)
	if index + 0 == ARGV[i + 1] + 0 then
		setFixed(key, index, math.max(used - ARGV[i], 0), ARGV[i + 2] + 0, ARGV[i + 3] + 0, ARGV[i + 4])
	end
end

