-- Forgets entries. Returns how many there were.
-- KEYS: stream, state, projects
-- ARGV: group, bytes an entry costs beside its record; for each entry: position, bytes of its record, project, events
local stream, overhead = KEYS[1], tonumber(ARGV[2])
local bytes, gone, events = 0, 0, {}
for at = 3, #ARGV, 4 do
    local id = ARGV[at] .. '-0'
    redis.call('XACK', stream, ARGV[1], id)
    if redis.call('XDEL', stream, id) == 1 then
        gone = gone + 1
        bytes = bytes + ARGV[at + 1] + overhead
        local project = ARGV[at + 2]
        events[project] = (events[project] or 0) + ARGV[at + 3]
    end
end
if gone > 0 then
    redis.call('HINCRBY', KEYS[2], 'bytes', string.format('-%.0f', bytes))
    for project, count in pairs(events) do
        if count > 0 and redis.call('HINCRBY', KEYS[3], project, string.format('-%.0f', count)) <= 0 then
            redis.call('HDEL', KEYS[3], project)
        end
    end
end
return gone
