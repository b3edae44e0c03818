module tenure.dev/examples/emptiest

go 1.24
