/* For bench_rtp.py: what sends RTP at pace, and the bare loop that the engine is measured beside. Compiled when the bench runs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static long long now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void sleep_until(long long at)
{
    struct timespec ts = {at / 1000000000LL, at % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Send one PCMU packet of 20 ms to each of `n` ports of 127.0.0.1, every 20 ms, `ticks` times, spread over the 20 ms. */
long long send_streams(int fd, const int *ports, int n, int ticks)
{
    unsigned char packet[172];
    long long sent = 0, start = now_ns();
    memset(packet, 0x55, sizeof packet);
    for (int k = 0; k < ticks; k++) {
        for (int i = 0; i < n; i++) {
            unsigned int stamp = htonl(k * 160u), ssrc = htonl(i + 1);
            unsigned short sequence = htons((unsigned short)k);
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(ports[i]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            if (i % 100 == 0)
                sleep_until(start + k * 20000000LL + i * 20000000LL / n);
            packet[0] = 0x80;
            packet[1] = 0;
            memcpy(packet + 2, &sequence, 2);
            memcpy(packet + 4, &stamp, 4);
            memcpy(packet + 8, &ssrc, 4);
            sent += sendto(fd, packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to) == sizeof packet;
        }
    }
    return sent;
}

#define BATCH 16

/* Ask each of `n` sockets with recvmmsg every 20 ms, `ticks` times, and do nothing with what comes. */
long long bare_loop(const int *fds, int n, int ticks)
{
    static unsigned char data[BATCH][2048];
    static struct sockaddr_in6 names[BATCH];
    static struct iovec places[BATCH];
    static struct mmsghdr messages[BATCH];
    long long received = 0, start = now_ns();
    for (int i = 0; i < BATCH; i++) {
        places[i].iov_base = data[i];
        places[i].iov_len = sizeof data[i];
        messages[i].msg_hdr.msg_iov = &places[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &names[i];
    }
    for (int k = 0; k < ticks; k++) {
        sleep_until(start + k * 20000000LL);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < BATCH; j++)
                messages[j].msg_hdr.msg_namelen = sizeof names[j];
            int count = recvmmsg(fds[i], messages, BATCH, MSG_DONTWAIT, NULL);
            if (count > 0)
                received += count;
        }
    }
    return received;
}

/* As send_streams, but each stream from a socket of its own, under its own payload type, and what comes back is taken from the sockets. */
long long talk_streams(const int *fds, const int *ports, const int *types, int n, int ticks)
{
    unsigned char packet[172], back[2048];
    long long sent = 0, start = now_ns();
    memset(packet, 0x55, sizeof packet);
    for (int k = 0; k < ticks; k++) {
        for (int i = 0; i < n; i++) {
            unsigned int stamp = htonl(k * 160u), ssrc = htonl(i + 1);
            unsigned short sequence = htons((unsigned short)k);
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(ports[i]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            if (i % 20 == 0)
                sleep_until(start + k * 20000000LL + i * 20000000LL / n);
            packet[0] = 0x80;
            packet[1] = types[i];
            memcpy(packet + 2, &sequence, 2);
            memcpy(packet + 4, &stamp, 4);
            memcpy(packet + 8, &ssrc, 4);
            sent += sendto(fds[i], packet, sizeof packet, 0, (struct sockaddr *)&to, sizeof to) == sizeof packet;
            while (recv(fds[i], back, sizeof back, MSG_DONTWAIT) > 0)
                ;
        }
    }
    return sent;
}
