-- Appends a group of appends, each whole or not at all. Returns for each: 1 appended, 0 no room, -1 the mark was another.
-- KEYS: stream, state, projects, marks
-- ARGV: most bytes, bytes an entry costs beside its record, mark's name or '', mark expected, mark to set, appends;
--       for each append: projects, records, (project, events)..., record...
local stream, state = KEYS[1], KEYS[2]
local bytes_max, overhead = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[3] ~= '' and (redis.call('HGET', KEYS[4], ARGV[3]) or '0') ~= ARGV[4] then
    return {-1}
end
local known = redis.call('HMGET', state, 'last', 'bytes')
local last, bytes = tonumber(known[1] or '0'), tonumber(known[2] or '0')
local time = redis.call('TIME')
-- Positions follow the clock, so that a queue that lost its end does not give them again.
local position = math.max(last + 1, time[1] * 1000000 + time[2])
local verdicts, events = {}, {}
local at = 7
for append = 1, tonumber(ARGV[6]) do
    local projects, records = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local first = at + 2 + 2 * projects
    local after = first + records
    local size = records * overhead
    for record = first, after - 1 do
        size = size + #ARGV[record]
    end
    if bytes + size > bytes_max then
        verdicts[append] = 0
    else
        bytes = bytes + size
        for record = first, after - 1 do
            redis.call('XADD', stream, string.format('%.0f-0', position), 'r', ARGV[record])
            position = position + 1
        end
        for project = at + 2, first - 2, 2 do
            local name = ARGV[project]
            events[name] = (events[name] or 0) + tonumber(ARGV[project + 1])
        end
        verdicts[append] = 1
        if ARGV[3] ~= '' then
            redis.call('HSET', KEYS[4], ARGV[3], ARGV[5])
        end
    end
    at = after
end
redis.call('HSET', state, 'last', string.format('%.0f', position - 1), 'bytes', string.format('%.0f', bytes))
for project, count in pairs(events) do
    if count > 0 then
        redis.call('HINCRBY', KEYS[3], project, string.format('%.0f', count))
    end
end
return verdicts
