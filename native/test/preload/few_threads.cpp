// Plays the system's limit on threads for a program that loads this library before its others (LD_PRELOAD). The
// variable HEARTH_TEST_THREADS says how many threads may run beside the main one. Without the variable there is no
// limit.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

namespace {

struct Thread {
  void* (*body)(void*);
  void* argument;
};

std::atomic<int> running{0};

void* run(void* memory) {
  const Thread thread = *static_cast<Thread*>(memory);
  delete static_cast<Thread*>(memory);
  void* result = thread.body(thread.argument);
  running--;
  return result;
}

}  // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                              void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  const char* most = std::getenv("HEARTH_TEST_THREADS");
  if (most && running >= std::atoi(most)) return EAGAIN;
  running++;
  return create(thread, attributes, run, new Thread{body, argument});
}
