# The four words, by hand and in CI: make fmt lint test bench.
# Everything else is named in `make help`.

GO ?= go
# How long one package's tests may take before they count as hung.
TEST_TIMEOUT ?= 10m

.PHONY: help
help: ## what can be made
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: build
build: ## the chaussette command, in bin/
	@# Not -trimpath: apps in modules that do not require chaussette are built with this checkout.
	CGO_ENABLED=0 $(GO) build -o bin/chaussette .

.PHONY: fmt
fmt: ## format the code
	gofmt -s -w $$(git ls-files '*.go')

.PHONY: lint
lint: ## what must be clean: gofmt, go vet (Linux and macOS), staticcheck
	@unformatted=$$(gofmt -s -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted (make fmt)"; exit 1; fi
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: setup
setup: ## install what the tests need: Debian packages, npm, Go modules
	scripts/setup test

.PHONY: test
test: setup ## every test, under the race detector
	$(GO) test -race -timeout $(TEST_TIMEOUT) ./...

.PHONY: soak
soak: setup ## rolling restarts under load, for half a minute under each manager
	SOAK=30s $(GO) test -count=1 -v -run TestRollingRestart ./webtest

.PHONY: soak-siblings
soak-siblings: setup ## 5 workers, 500 Socket.IO clients: each replaced once, one killed, and every event counted
	SOAK_SIBLINGS=60s $(GO) test -count=1 -v -timeout $(TEST_TIMEOUT) -run 'TestSiblingsReplaced|TestSiblingKilled' ./webtest

.PHONY: man
man: ## the manual page, build/chaussette.1
	@mkdir -p build
	$(GO) run ./internal/man > build/chaussette.1

.PHONY: bench
bench: bench-http bench-accept bench-siblings bench-ws bench-socketio bench-wsgi ## every benchmark; each can be run alone

.PHONY: bench-http
bench-http: build ## the HTTP engines next to bare net/http: CPU per request
	scripts/setup bench-http
	@mkdir -p build/bench
	$(GO) build -C bench/peers -o ../../build/bench/ ./fasthttp-hello
	$(GO) run ./bench/http -chaussette bin/chaussette -peers build/bench

.PHONY: bench-accept
bench-accept: build ## how 4 workers share the connections of one socket
	$(GO) run ./bench/accept -chaussette bin/chaussette

.PHONY: bench-siblings
bench-siblings: build ## what 4 workers on one socket cost, beside one: polling and broadcasts
	scripts/setup bench-siblings
	@mkdir -p build
	cc -O2 -Wall -Wextra -o build/raw-c-siblings bench/limit/raw-c-siblings/main.c -luring -lpthread
	$(GO) build -C bench/wsload -o ../../build/wsload .
	$(GO) run ./bench/siblings -chaussette bin/chaussette -wsload build/wsload -yardstick build/raw-c-siblings

.PHONY: bench-ws
bench-ws: ## WebSocket next to its peers, the tables of docs/performance.md
	scripts/setup bench
	bench/build.sh build/bench
	bench/run.py --bin build/bench --output build/bench-ws.jsonl --repetitions 3 --patience 20 \
		--cases echo-100,echo-1000,pipeline-16,large,idle,broadcast-5000,broadcast-15000,connect \
		--servers "raw-c-epoll,chaussette ws4py,chaussette websocket,ws-go-epoll-1loop,gobwas-epoll,gws,gorilla,node-ws"
	bench/table.py build/bench-ws.jsonl

.PHONY: bench-socketio
bench-socketio: ## Socket.IO next to its peers, the table of docs/performance.md
	scripts/setup bench
	bench/build.sh build/bench
	bench/run.py --bin build/bench --output build/bench-socketio.jsonl --repetitions 3 --patience 20 \
		--cases sio-echo,sio-broadcast,sio-polling,sio-connect,sio-idle \
		--servers "chaussette socketio,node-socketio,googollee"
	bench/table.py build/bench-socketio.jsonl

.PHONY: bench-wsgi
bench-wsgi: build ## Python apps: CPU per request, beside the servers of today
	scripts/setup bench
	bench/wsgi/run.py
