module portask/bench/load

go 1.21
