/* The relay of the userspace backend: it forwards Ethernet frames between pairs of TAP devices, each through a wire.
 *
 * One thread serves all links of a run. The devices lie in a binary heap by the next event of the wire that leads away
 * from them. Orders come over a socket from userspace.py, which mirrors their structures.
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
    struct properties way[2];
};

/* The answer to CONNECT and SHAPE is an int64: 0, or an errno. That to HEALTH is this, and is then set back to 0. */
struct health {
    int64_t lateness;  /* ns, the most by which a frame came late */
    int64_t lost[];    /* by link: frames that a device would not take */
};

/* A device at one end of a link, and the wire from it to the device at the other. */
struct tap {
    struct wire *wire;
    int device, target;
    size_t link;
    int64_t event; /* of the wire, the next */
    size_t place;  /* in the heap */
};

static struct {
    int poll;
    struct tap **taps, **heap; /* two a link, in the order of the links */
    size_t count;
    int64_t lateness;
    int64_t *lost;
    int64_t oversleep; /* by how much an alarm comes late, as a rule */
    int64_t woke;      /* when we did, the last time */
    int64_t ago;       /* how long before that what woke us is taken to have happened */
    bool busy;
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

/* Restore the order of the heap round a device whose next event has changed. */
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

/* Watch a device. False where epoll cannot. */
static bool add_tap(size_t link, int device, int target, uint64_t seed)
{
    struct tap *tap = calloc(1, sizeof *tap);
    if (!tap)
        abort();
    *tap = (struct tap){wire_new(seed), device, target, link, .event = NEVER};
    relay.taps[relay.count] = tap;
    put(tap, relay.count++);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tap};
    return epoll_ctl(relay.poll, EPOLL_CTL_ADD, device, &event) == 0;
}

static int64_t connect_link(const struct order *order, const int *devices)
{
    size_t links = relay.count / 2 + 1;
    relay.taps = realloc(relay.taps, 2 * links * sizeof *relay.taps);
    relay.heap = realloc(relay.heap, 2 * links * sizeof *relay.heap);
    relay.lost = realloc(relay.lost, links * sizeof *relay.lost);
    if (!relay.taps || !relay.heap || !relay.lost)
        abort();
    relay.lost[links - 1] = 0;
    bool up = add_tap(links - 1, devices[0], devices[1], order->seed[0]);
    bool down = add_tap(links - 1, devices[1], devices[0], order->seed[1]);
    return up && down ? 0 : errno;
}

static int64_t shape_link(const struct order *order, int64_t *const *times)
{
    if (order->link < 0 || (size_t)order->link >= relay.count / 2)
        return EINVAL;
    for (int way = 0; way < 2; way++) {
        struct tap *tap = relay.taps[2 * order->link + way];
        wire_shape(tap->wire, &order->way[way], times[way], now());
        deliver(tap, now());
    }
    return 0;
}

/* Carry out an order that came with `count` descriptors: the devices of a new link, which are kept, and a file of int64
 * ns for each way that has a recording. */
static int64_t obey(const struct order *order, const int *files, int count)
{
    int devices = order->what == CONNECT ? 2 : 0, file = devices;
    int64_t *times[2] = {NULL, NULL}, error = 0;
    for (int way = 0; way < 2 && !error; way++) {
        int64_t size = order->way[way].opportunities * (int64_t)sizeof(int64_t);
        if (size == 0)
            continue;
        void *map = file < count ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, files[file++], 0) : MAP_FAILED;
        if (map == MAP_FAILED)
            error = EMFILE;
        else
            times[way] = map;
    }
    if (!error && devices)
        error = count >= devices ? connect_link(order, files) : EMFILE;
    if (!error)
        error = shape_link(order, times);
    for (int way = 0; way < 2; way++)
        if (times[way])
            munmap(times[way], order->way[way].opportunities * sizeof(int64_t));
    for (int i = devices; i < count; i++)
        close(files[i]);
    return error;
}

static void report_health(int client)
{
    size_t links = relay.count / 2, size = sizeof(struct health) + links * sizeof(int64_t);
    struct health *health = malloc(size);
    health->lateness = relay.lateness;
    memcpy(health->lost, relay.lost, links * sizeof(int64_t));
    relay.lateness = 0;
    memset(relay.lost, 0, links * sizeof(int64_t));
    send(client, health, size, MSG_NOSIGNAL);
    free(health);
}

/* Take one order from a client. False if the client is gone. */
static bool take_order(int client)
{
    static struct order order;
    int files[4], count = 0;
    char space[CMSG_SPACE(sizeof files)];
    struct iovec part = {&order, sizeof order};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(client, &message, MSG_CMSG_CLOEXEC) != sizeof order)
        return false;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights && rights->cmsg_type == SCM_RIGHTS) {
        count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof *files;
        memcpy(files, CMSG_DATA(rights), count * sizeof *files);
    }
    if (order.what == HEALTH) {
        report_health(client);
        return true;
    }
    int64_t answer = obey(&order, files, count);
    send(client, &answer, sizeof answer, MSG_NOSIGNAL);
    return true;
}

/* -------------------------------------------------------------------------------------------------------------- loop */

static void read_frames(struct tap *tap)
{
    static unsigned char bytes[LARGEST_FRAME];
    for (int i = 0; i < FRAMES_AT_ONCE; i++) {
        ssize_t size = read(tap->device, bytes, sizeof bytes);
        if (size <= 0) {
            if (size == 0 || errno == EBADFD) /* the device went with its namespace */
                epoll_ctl(relay.poll, EPOLL_CTL_DEL, tap->device, NULL);
            break;
        }
        wire_accept(tap->wire, frame_of(bytes, size), now() - relay.ago);
    }
    deliver(tap, now());
}

/* Sleep until a descriptor is ready, which is true (or may be, after a signal), or until `alarm`. epoll's own timeout
 * counts whole milliseconds, ppoll's is exact. */
static bool sleep_until(int64_t alarm)
{
    int64_t rest = alarm - now();
    struct timespec timeout = {rest / 1000000000, rest % 1000000000};
    struct pollfd all = {.fd = relay.poll, .events = POLLIN};
    return rest > 0 && ppoll(&all, 1, &timeout, NULL) != 0;
}

/* A sleeper wakes late, on an idle machine by up to a tenth of a millisecond. So the alarm is set for as much sooner as
 * it usually comes too late, and what wakes us is taken to have come that much sooner. */
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

/* Wait for frames, orders or the next event. Who was woken twice within a nap is busy, and takes one first: to wake up
 * costs more than to forward a frame. */
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

/* Watch the listening socket or a client. epoll gives back either the address of a tap or such a descriptor, which is
 * a smaller number than any address. */
static void watch(int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = descriptor};
    epoll_ctl(relay.poll, EPOLL_CTL_ADD, descriptor, &event);
}

/* Serve the clients of a listening socket (SOCK_SEQPACKET) for ever. */
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
