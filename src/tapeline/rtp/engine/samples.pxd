cimport cython

cdef enum:
    HALF = 12
    WIDTH = 25

cdef short KERNELS[542]

@cython.locals(i=cython.int, at=cython.int, left=cython.int)
cdef void expand(const short* table, const unsigned char* buf, int offset, int n, short* ring, int mask, long long pos) noexcept nogil
@cython.locals(i=cython.int)
cdef void unpack(const unsigned char* buf, int offset, int n, short* ring, int mask, long long pos) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void clear(short* ring, int mask, long long pos, long long n) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void move(short* ring, int mask, long long pos, long long n, long long delta) noexcept nogil
@cython.locals(i=cython.int)
cdef void zero(int* acc, int n) noexcept nogil
@cython.locals(i=cython.int)
cdef void add(int* acc, int at, const short* pcm, long long offset, int n, int gain) noexcept nogil
@cython.locals(i=cython.int)
cdef void add_mix(int* acc, const int* other, int n, int sign) noexcept nogil
@cython.locals(i=cython.int, up=cython.int, down=cython.int, level=cython.int, v=cython.longlong)
cdef void shape(int* acc, int n, long long begin, long long end, int ramp, int gain) noexcept nogil
@cython.locals(v=cython.int)
cdef int pick(const short* ring, int mask, long long horizon, long long pos) noexcept nogil
@cython.locals(first=cython.longlong, last=cython.longlong, place=cython.int, count=cython.int, at=cython.int, left=cython.int)
cdef void gather(int* acc, const short* ring, int mask, long long horizon, int source, int target, long long pos, int n, int gain) noexcept nogil
@cython.locals(i=cython.int, at=cython.longlong, part=cython.longlong, v=cython.int)
cdef void convert(int* acc, const short* ring, int mask, long long horizon, int source, int target, long long pos, int n, int gain) noexcept nogil
@cython.locals(taps=cython.int, table=cython.int, window="short[2048]", i=cython.int, k=cython.int, v=cython.int, wide=cython.longlong)
cdef void thin(int* acc, int to, const short* ring, int mask, long long horizon, int ratio, long long pos, int n, int gain) noexcept nogil
@cython.locals(table=cython.int, window="short[256]", first=cython.longlong, i=cython.int, at=cython.int, phase=cython.int, k=cython.int, v=cython.int, wide=cython.longlong)
cdef void spread(int* acc, int to, const short* ring, int mask, long long horizon, int ratio, long long pos, int n, int gain) noexcept nogil
@cython.locals(first=cython.longlong, last=cython.longlong, i=cython.int)
cdef void view(const short* ring, int mask, long long horizon, long long pos, int n, short* out) noexcept nogil
@cython.locals(i=cython.int, v=cython.int, peak=cython.int)
cdef int saturate(const int* acc, int n, short* out, int offset, int stride) noexcept nogil
@cython.locals(i=cython.int)
cdef void store(const short* pcm, int n, short* ring, int mask, long long pos) noexcept nogil
@cython.locals(i=cython.int)
cdef void compress(const unsigned char* table, const short* pcm, int n, unsigned char* buf, int offset) noexcept nogil
@cython.locals(i=cython.int)
cdef void pack(const short* pcm, int n, unsigned char* buf, int offset) noexcept nogil
@cython.locals(i=cython.int)
cdef void carry(const unsigned char* buf, int offset, int n, unsigned char* out, int at) noexcept nogil
@cython.locals(i=cython.int)
cdef void fill(unsigned char* buf, int offset, int n, int value) noexcept nogil
@cython.locals(i=cython.int, v=cython.int, total=cython.longlong)
cdef int loudness(const short* ring, int mask, long long horizon, long long pos, int n) noexcept nogil
