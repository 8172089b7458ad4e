/* The physical limit of several workers on one socket: what it costs that N
 * processes do what one could, with nothing between them but the least there is.
 *
 * Each worker accepts from descriptor 3 in a thread of its own, and reads by
 * epoll. It echoes what it reads; what is read at once and begins with '!' goes
 * to every connection instead, 32 sends a system call (io_uring), and to every
 * other worker by one datagram, which does the same. Usage: raw-c-siblings N,
 * which writes a line when they serve. They end with it.
 * Build: cc -O2 -Wall -Wextra -o raw-c-siblings main.c -luring -lpthread
 */
#define _GNU_SOURCE
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LISTENER = 3, MAX_WORKERS = 64, MAX_FD = 1 << 17, EVENTS = 1024, BUFFER = 64 << 10, BATCH = 32 };

static int inbox[MAX_WORKERS][2]; /* a datagram that is written to [1] is read from [0] by that worker */
static int connections[MAX_FD];
static atomic_int count;
static int epoll;
static struct io_uring ring;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll_ctl");
}

static void *accept_all(void *unused)
{
	int fd, one = 1;
	while ((fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		connections[count] = fd;
		count++;
		watch(fd);
	}
	return unused;
}

static void submit(unsigned n)
{
	if (io_uring_submit_and_wait(&ring, n) < 0)
		fail("io_uring_submit_and_wait");
	io_uring_cq_advance(&ring, n);
}

/* A client that does not read loses bytes here: this measures those who do. */
static void broadcast(const char *bytes, size_t length)
{
	unsigned n = 0;
	for (int i = 0; i < count; i++) {
		struct io_uring_sqe *e = io_uring_get_sqe(&ring);
		io_uring_prep_send(e, connections[i], bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (++n == BATCH) {
			submit(n);
			n = 0;
		}
	}
	if (n > 0)
		submit(n);
}

static void serve(int self, int workers)
{
	static char buffer[BUFFER];
	pthread_t thread;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	epoll = epoll_create1(0);
	if (epoll < 0 || io_uring_queue_init(BATCH, &ring, 0) < 0)
		fail("raw-c-siblings");
	watch(inbox[self][0]);
	if (pthread_create(&thread, NULL, accept_all, NULL))
		fail("pthread_create");
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
			if (size <= 0) {
				epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); /* its place is kept: clients end all at once */
				continue;
			}
			if (fd == inbox[self][0]) {
				broadcast(buffer, size);
			} else if (buffer[0] != '!') {
				send(fd, buffer, size, MSG_NOSIGNAL);
			} else {
				for (int w = 0; w < workers; w++)
					if (w != self && send(inbox[w][1], buffer, size, 0) < 0)
						fail("send");
				broadcast(buffer, size);
			}
		}
	}
}

int main(int argc, char **argv)
{
	int workers = argc == 2 ? atoi(argv[1]) : 0;
	if (workers < 1 || workers > MAX_WORKERS) {
		fprintf(stderr, "usage: raw-c-siblings N 3<>SOCKET\n");
		return 2;
	}
	for (int i = 0; i < workers; i++)
		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, inbox[i]) < 0)
			fail("socketpair");
	for (int i = 0; i < workers; i++)
		if (fork() == 0)
			serve(i, workers);
	puts("");
	fflush(stdout);
	while (wait(NULL) > 0)
		;
}
