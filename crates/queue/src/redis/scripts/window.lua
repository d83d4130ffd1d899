-- A sliding window as the generic cell rate algorithm keeps it: one time, when all that was used is free again.
-- Returns: allowed, units left, microseconds until as much as was asked for may pass, microseconds until all is free.
-- KEYS: the window's
-- ARGV: units a minute, units asked for
local limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local minute = 60000000
local unit = minute / limit
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
-- A limit that was changed, or a clock that was set back, starts anew.
if free_at > now + minute then
    free_at = now
end
local after = free_at + cost * unit
local allowed = after <= now + minute + 1
if allowed then
    free_at = after
    redis.call('SET', KEYS[1], string.format('%.0f', free_at), 'PX', math.max(1, math.ceil((free_at - now) / 1000)))
end
local left = math.max(0, math.floor((now + minute - free_at) / unit + 0.001))
return {allowed and 1 or 0, left, math.max(0, math.ceil(after - now - minute)), math.ceil(free_at - now)}
