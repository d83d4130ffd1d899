-- Takes entries for a consumer: new ones (cursor '>') or its own pending ones behind a cursor. Returns them and the last position given.
-- A call of an earlier tenure that arrives late is refused: nobody would hear of what it took.
-- KEYS: stream, tenures, state
-- ARGV: group, consumer, tenure, count, cursor
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then
    return redis.error_reply('FENCED another process reads under this name')
end
local found = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], ARGV[5])
local entries = found and found[1] and found[1][2] or {}
if ARGV[5] == '>' and #entries > 0 then
    redis.call('HSET', KEYS[2], ARGV[2] .. ':given', string.match(entries[#entries][1], '^%d+'))
end
local counts = {}
if ARGV[5] ~= '>' and #entries > 0 then
    local first, last = entries[1][1], entries[#entries][1]
    for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], first, last, #entries, ARGV[2])) do
        counts[#counts + 1] = pending[4]
    end
end
return {entries, redis.call('HGET', KEYS[3], 'last') or '0', counts}
