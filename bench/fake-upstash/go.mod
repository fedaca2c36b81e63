module fake-upstash

go 1.26
