/* The relay of the userspace backend forwards Ethernet frames between pairs of TAP devices, each through a wire.
 *
 * One thread serves all links of a run. A binary heap orders the devices by the next event of the wire that leads away
 * from them. Orders arrive over a socket from userspace.py, which mirrors `struct order` and `struct properties`.
 * Where memory runs out the relay aborts: a relay that drops frames silently would falsify the run.
 */

#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LARGEST_FRAME 65536
#define FRAMES_AT_ONCE 64 /* read from one device before the others get their turn */
#define EVENTS_AT_ONCE 64
#define NAP 100000 /* ns */
#define OVERSLEEP_STEP 500 /* ns */
#define MOST_DESCRIPTORS 1048576 /* NR_OPEN; see watch() */

enum { CONNECT = 1, SHAPE = 2, HEALTH = 3 };

struct order {
    int64_t what;
    int64_t link;     /* CONNECT: the number of links so far; the devices of both ends come along */
    uint64_t seed[2]; /* CONNECT: one for each direction */
    struct properties direction[2];
};

/* The descriptors that arrived with an order: first the devices of a new link, then one file of int64 ns for each
 * direction that has a trace. */
#define MOST_FILES 4
struct files {
    int descriptor[MOST_FILES], count;
};

/* The device at one end of a link, and the wire from it to the device at the other end. */
struct tap {
    struct wire *wire;
    int device, target;
    size_t link;
    int64_t event; /* when the wire's next event is due */
    size_t place;  /* in the heap */
};

static struct {
    int poll;
    struct tap **taps, **heap; /* two a link, in the order of the links */
    size_t count;
    int64_t lateness;  /* ns, of the frame that was delivered latest since the last HEALTH */
    int64_t *lost;     /* by link: frames that a device refused since the last HEALTH */
    int64_t oversleep; /* ns, the median delay of an alarm */
    int64_t woke;      /* when the relay last woke */
    int64_t ago;       /* ns between the event that woke the relay, by estimate, and the wake-up */
    bool busy;         /* two wake-ups lay less than a NAP apart */
} relay;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* -------------------------------------------------------------------------------------------------------------- heap */

static void put(struct tap *tap, size_t place)
{
    relay.heap[place] = tap;
    tap->place = place;
}

/* Move a device to its place in the heap after its next event has changed. */
static void reschedule(struct tap *tap)
{
    size_t place = tap->place;
    tap->event = wire_next_event(tap->wire);
    while (place > 0 && relay.heap[(place - 1) / 2]->event > tap->event) {
        put(relay.heap[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * place + 1;
        if (child + 1 < relay.count && relay.heap[child + 1]->event < relay.heap[child]->event)
            child++;
        if (child >= relay.count || relay.heap[child]->event >= tap->event)
            break;
        put(relay.heap[child], place);
        place = child;
    }
    put(tap, place);
}

static void deliver(struct tap *tap, int64_t time)
{
    for (struct frame *frame; (frame = wire_arrived(tap->wire, time)); free(frame)) {
        if (time - frame->due > relay.lateness)
            relay.lateness = time - frame->due;
        if (write(tap->target, frame->bytes, frame->size) < 0)
            relay.lost[tap->link]++;
    }
    reschedule(tap);
}

/* ------------------------------------------------------------------------------------------------------------ orders */

static void *or_abort(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct tap *new_tap(size_t link, int device, int target, uint64_t seed)
{
    struct tap *tap = or_abort(calloc(1, sizeof *tap));
    *tap = (struct tap){wire_new(seed), device, target, link, .event = NEVER};
    return tap;
}

static bool watch_tap(struct tap *tap)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tap};
    return epoll_ctl(relay.poll, EPOLL_CTL_ADD, tap->device, &event) == 0;
}

static void discard(struct tap *tap)
{
    epoll_ctl(relay.poll, EPOLL_CTL_DEL, tap->device, NULL); /* the sender still has the device open */
    free(tap->wire);
    free(tap);
}

static void enlist(struct tap *tap)
{
    relay.taps[relay.count] = tap;
    put(tap, relay.count++);
}

static int64_t connect_link(const struct order *order, const int *devices)
{
    size_t link = relay.count / 2, taps = relay.count + 2;
    struct tap *up = new_tap(link, devices[0], devices[1], order->seed[0]);
    struct tap *down = new_tap(link, devices[1], devices[0], order->seed[1]);
    if (!watch_tap(up) || !watch_tap(down)) {
        int64_t error = errno;
        discard(up);
        discard(down);
        return error;
    }
    relay.taps = or_abort(realloc(relay.taps, taps * sizeof *relay.taps));
    relay.heap = or_abort(realloc(relay.heap, taps * sizeof *relay.heap));
    relay.lost = or_abort(realloc(relay.lost, (link + 1) * sizeof *relay.lost));
    relay.lost[link] = 0;
    enlist(up);
    enlist(down);
    return 0;
}

static int64_t shape_link(const struct order *order, int64_t *const *times)
{
    if (order->link < 0 || (size_t)order->link >= relay.count / 2)
        return EINVAL;
    for (int i = 0; i < 2; i++) {
        struct tap *tap = relay.taps[2 * order->link + i];
        wire_shape(tap->wire, &order->direction[i], times[i], now());
        deliver(tap, now());
    }
    return 0;
}

static void close_from(const struct files *files, int first)
{
    for (int i = first; i < files->count; i++)
        close(files->descriptor[i]);
}

/* Carry out CONNECT or SHAPE. Only the devices of a link that was connected stay open. */
static int64_t obey(const struct order *order, const struct files *files)
{
    int devices = order->what == CONNECT ? 2 : 0, file = devices, kept = 0;
    int64_t *times[2] = {NULL, NULL}, error = 0;
    for (int i = 0; i < 2 && !error; i++) {
        int64_t size = order->direction[i].opportunities * (int64_t)sizeof(int64_t);
        if (size == 0)
            continue;
        void *map = MAP_FAILED;
        if (file < files->count)
            map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, files->descriptor[file++], 0);
        if (map == MAP_FAILED)
            error = EMFILE;
        else
            times[i] = map;
    }
    if (!error && devices) {
        error = files->count >= devices ? connect_link(order, files->descriptor) : EMFILE;
        kept = error ? 0 : devices;
    }
    if (!error)
        error = shape_link(order, times);
    for (int i = 0; i < 2; i++)
        if (times[i])
            munmap(times[i], order->direction[i].opportunities * sizeof(int64_t));
    close_from(files, kept);
    return error;
}

/* Never waits: a client that does not read its answers must not hold up the frames. */
static void answer(int client, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The answer to HEALTH: an int64 of lateness in ns, and an int64 of lost frames for each link. Both restart at 0. */
static void answer_health(int client)
{
    size_t size = relay.count / 2 * sizeof *relay.lost;
    struct iovec parts[] = {{&relay.lateness, sizeof relay.lateness}, {relay.lost, size}};
    answer(client, parts, 2);
    relay.lateness = 0;
    if (size)
        memset(relay.lost, 0, size);
}

/* The answer to CONNECT and SHAPE: an int64, 0 or an errno. */
static void answer_order(int client, int64_t error)
{
    answer(client, &(struct iovec){&error, sizeof error}, 1);
}

static struct files files_of(struct msghdr *message)
{
    struct files files = {.count = 0};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        files.count = (part->cmsg_len - CMSG_LEN(0)) / sizeof *files.descriptor; /* at most one such part (unix(7)) */
        memcpy(files.descriptor, CMSG_DATA(part), files.count * sizeof *files.descriptor);
    }
    return files;
}

/* Take one order from a client. False if the client is gone, or sent something else than an order. */
static bool take_order(int client)
{
    static struct order order;
    union {
        struct cmsghdr aligned;
        char space[CMSG_SPACE(MOST_FILES * sizeof(int))];
    } control;
    struct iovec part = {&order, sizeof order};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(client, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN;
    struct files files = files_of(&message);
    bool whole = size == sizeof order && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (whole && (order.what == CONNECT || order.what == SHAPE)) {
        answer_order(client, obey(&order, &files));
        return true;
    }
    close_from(&files, 0);
    if (whole && order.what == HEALTH)
        answer_health(client);
    return whole && order.what == HEALTH;
}

/* -------------------------------------------------------------------------------------------------------------- loop */

static void read_frames(struct tap *tap)
{
    static unsigned char bytes[LARGEST_FRAME];
    for (int i = 0; i < FRAMES_AT_ONCE; i++) {
        ssize_t size = read(tap->device, bytes, sizeof bytes);
        if (size <= 0) {
            if (size == 0 || errno == EBADFD) /* the device was deleted with its namespace */
                epoll_ctl(relay.poll, EPOLL_CTL_DEL, tap->device, NULL);
            break;
        }
        wire_accept(tap->wire, frame_of(bytes, size), now() - relay.ago);
    }
    deliver(tap, now());
}

/* Sleep until a descriptor is ready or until `alarm`. True if a descriptor is ready, or a signal came. ppoll, because
 * epoll_wait's timeout is in whole milliseconds. */
static bool sleep_until(int64_t alarm)
{
    int64_t rest = alarm - now();
    struct timespec timeout = {rest / 1000000000, rest % 1000000000};
    struct pollfd all = {.fd = relay.poll, .events = POLLIN};
    return rest > 0 && ppoll(&all, 1, &timeout, NULL) != 0;
}

/* The kernel wakes a sleeper late, on an idle machine by up to 0.1 ms. The alarm is therefore set earlier by the median
 * delay, and a frame that wakes the relay is dated back by as much. */
static void sleep_for_frames(int64_t next)
{
    int64_t asleep = now(), alarm = next - relay.oversleep;
    bool ready = sleep_until(alarm);
    int64_t awake = now();
    if (ready) {
        relay.ago = awake - asleep < relay.oversleep ? awake - asleep : relay.oversleep;
    } else {
        relay.oversleep += awake - alarm > relay.oversleep ? OVERSLEEP_STEP : -OVERSLEEP_STEP; /* finds the median */
        while (now() < next)
            ;
    }
    relay.busy = awake - relay.woke < NAP;
    relay.woke = awake;
}

/* Wait for frames, orders or the next event. A busy relay naps first: a wake-up costs more than forwarding a frame. */
static int wait_for(struct epoll_event *events)
{
    int64_t next = relay.count ? relay.heap[0]->event : NEVER;
    relay.ago = 0;
    if (relay.busy) {
        struct timespec end = {(relay.woke + NAP) / 1000000000, (relay.woke + NAP) % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
        relay.busy = false;
        relay.woke = now();
    } else if (next > now()) {
        sleep_for_frames(next);
    }
    return epoll_wait(relay.poll, events, EVENTS_AT_ONCE, 0);
}

/* Watch the listening socket or a client. epoll returns either the address of a tap or such a descriptor. A descriptor
 * is a smaller number than any address. */
static void watch(int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = descriptor};
    epoll_ctl(relay.poll, EPOLL_CTL_ADD, descriptor, &event);
}

/* Serve the clients of a listening SOCK_SEQPACKET socket. Never returns. */
void serve(int listener)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    prctl(PR_SET_TIMERSLACK, 1);
    relay.poll = epoll_create1(EPOLL_CLOEXEC);
    watch(listener);
    for (;;) {
        int count = wait_for(events);
        for (int i = 0; i < count; i++) {
            uint64_t what = events[i].data.u64;
            if (what >= MOST_DESCRIPTORS)
                read_frames(events[i].data.ptr);
            else if ((int)what == listener)
                watch(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
            else if (!take_order(what))
                close(what);
        }
        for (int64_t time = now(); relay.count && relay.heap[0]->event <= time; time = now())
            deliver(relay.heap[0], time);
    }
}
