"""What ties front end, passes and backends together: compiled modules, their memory, their files."""
