-- The last digits of a state, and what is before them.
local function split(state, digits)
	return tonumber(string.sub(state, -digits)), string.sub(state, 1, -digits - 1)
end

