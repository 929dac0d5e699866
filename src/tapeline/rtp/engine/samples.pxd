cimport cython

cdef enum:
    HALF = 12
    WIDTH = 25

cdef short KERNELS[542]

@cython.locals(i=cython.longlong, at=cython.longlong, left=cython.longlong)
cdef void expand(const short* table, const unsigned char* buf, int offset, int n, short* ring, int mask, long long pos) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void unpack(const unsigned char* buf, int offset, int n, short* ring, int mask, long long pos) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void clear(short* ring, int mask, long long pos, long long n) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void move(short* ring, int mask, long long pos, long long n, long long delta) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void zero(int* acc, int n) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void add(int* acc, long long at, const short* pcm, long long offset, int n, int gain) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void add_mix(int* acc, const int* other, int n, int sign) noexcept nogil
@cython.locals(i=cython.longlong, up=cython.int, down=cython.int, level=cython.int, v=cython.longlong)
cdef void shape(int* acc, int n, long long begin, long long end, int ramp, int gain) noexcept nogil
@cython.locals(v=cython.int)
cdef int pick(const short* ring, int mask, long long horizon, long long pos) noexcept nogil
@cython.locals(first=cython.longlong, last=cython.longlong, place=cython.longlong, count=cython.int, at=cython.longlong, left=cython.longlong)
cdef void gather(int* acc, const short* ring, int mask, long long horizon, int source, int target, long long pos, int n, int gain) noexcept nogil
@cython.locals(i=cython.longlong, at=cython.longlong, part=cython.longlong, v=cython.int)
cdef void convert(int* acc, const short* ring, int mask, long long horizon, int source, int target, long long pos, int n, int gain) noexcept nogil
@cython.locals(taps=cython.longlong, table=cython.longlong, window="short[2048]", i=cython.longlong, k=cython.longlong, v=cython.int, wide=cython.longlong)
cdef void thin(int* acc, long long to, const short* ring, int mask, long long horizon, int ratio, long long pos, int n, int gain) noexcept nogil
@cython.locals(table=cython.longlong, window="short[256]", first=cython.longlong, i=cython.longlong, at=cython.longlong, phase=cython.longlong, k=cython.longlong, v=cython.int, wide=cython.longlong)
cdef void spread(int* acc, long long to, const short* ring, int mask, long long horizon, int ratio, long long pos, int n, int gain) noexcept nogil
@cython.locals(first=cython.longlong, last=cython.longlong, i=cython.longlong)
cdef void view(const short* ring, int mask, long long horizon, long long pos, int n, short* out) noexcept nogil
@cython.locals(i=cython.longlong, v=cython.int, peak=cython.int)
cdef int saturate(const int* acc, int n, short* out, long long offset, long long stride) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void store(const short* pcm, int n, short* ring, int mask, long long pos) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void compress(const unsigned char* table, const short* pcm, int n, unsigned char* buf, int offset) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void pack(const short* pcm, int n, unsigned char* buf, int offset) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void carry(const unsigned char* buf, int offset, int n, unsigned char* out, int at) noexcept nogil
@cython.locals(i=cython.longlong)
cdef void fill(unsigned char* buf, int offset, int n, int value) noexcept nogil
@cython.locals(i=cython.longlong, v=cython.int, total=cython.longlong)
cdef int loudness(const short* ring, int mask, long long horizon, long long pos, int n) noexcept nogil
