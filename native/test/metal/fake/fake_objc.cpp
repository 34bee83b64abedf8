// The fake runtime: classes, objects, autorelease pools and message sends.
#include "fake_objc.h"

#include <cstring>
#include <map>
#include <set>
#include <unordered_set>
#include <vector>

#include "fake_metal.h"

namespace hearth::fake {

void mistake(const std::string& what) {
  fprintf(stderr, "fake Metal: %s\n", what.c_str());
  abort();
}

std::recursive_mutex& lock() {
  static std::recursive_mutex mutex;
  return mutex;
}

namespace {

struct DeclaredMethod {
  void* function;
  const char* encoding;
};
typedef std::map<std::string, DeclaredMethod> Methods;
/// What a Class points to.
struct ClassTable {
  Methods methods, class_methods;
  Object* (*create)() = nullptr;
};
/// Holds the methods of all objects.
constexpr const char* kEveryObject = "NSObject";
struct Pool : Object {
  std::vector<Object*> objects;
};

std::map<std::string, ClassTable>& classes() {
  static std::map<std::string, ClassTable> all;
  return all;
}
/// The live objects. The set is never destroyed, because objects of static storage may be released last.
std::unordered_set<const Object*>& live() {
  static auto& all = *new std::unordered_set<const Object*>;
  return all;
}
std::set<std::string>& selectors() {
  static std::set<std::string> all;
  return all;
}
thread_local std::vector<Pool*> pools;

ClassTable* as_class(const void* receiver) {
  for (auto& [name, table] : classes())
    if (&table == receiver) return &table;
  return nullptr;
}
const DeclaredMethod* find(const void* receiver, const char* selector) {
  if (!receiver) mistake(std::string("a message to nil: ") + selector);
  const Methods* methods;
  if (const ClassTable* table = as_class(receiver)) {
    methods = &table->class_methods;
  } else {
    const auto* object = static_cast<const Object*>(receiver);
    if (!is_live(object)) mistake(std::string("a message to a freed ") + object->class_name + ": " + selector);
    methods = &classes()[object->class_name].methods;
  }
  auto found = methods->find(selector);
  if (found != methods->end()) return &found->second;
  const Methods& of_all = classes()[kEveryObject].methods;
  found = of_all.find(selector);
  return found == of_all.end() ? nullptr : &found->second;
}

Object* send_alloc(Object* self, objc::SEL) { return as_class(self)->create(); }
Object* send_init(Object* self, objc::SEL) { return self; }
Object* send_retain(Object* self, objc::SEL) { return retain(self); }
void send_release(Object* self, objc::SEL) { release(self); }
bool responds_to_selector(Object* self, objc::SEL, objc::SEL selector) {
  return find(self, reinterpret_cast<const char*>(selector)) != nullptr;
}
Object* pool_init(Object* self, objc::SEL) {
  pools.push_back(as<Pool>(self));
  return self;
}
void pool_drain(Object* self, objc::SEL) {
  if (pools.empty() || pools.back() != self) mistake("autorelease pools do not nest");
  Pool* pool = pools.back();
  pools.pop_back();
  for (Object* object : pool->objects) release(object);
  pool->objects = {};
  release(pool);
}

}  // namespace

void add_object(Object* object) {
  const std::lock_guard guard(lock());
  live().insert(object);
}
bool is_live(const Object* object) {
  const std::lock_guard guard(lock());
  return live().count(object) != 0;
}
size_t live_objects() {
  const std::lock_guard guard(lock());
  return live().size();
}
Object* retain(Object* object) {
  object->references++;
  return object;
}
void release(Object* object) {
  if (!is_live(object)) mistake(std::string("release of a freed ") + object->class_name);
  if (--object->references > 0) return;
  object->end();
  live().erase(object);
}
Object* autorelease(Object* object) {
  if (pools.empty()) mistake(std::string("a ") + object->class_name + " is handed out without an autorelease pool");
  pools.back()->objects.push_back(object);
  return object;
}

namespace detail {

void add_method(const std::string& class_name, const char* selector, void* function, const char* declared,
                const std::string& encoding, bool of_class) {
  if (encoding != declared) mistake(class_name + " " + selector + " is declared " + declared + ", but is " + encoding);
  auto& table = classes()[class_name];
  (of_class ? table.class_methods : table.methods)[selector] = {function, declared};
}
void add_factory(const char* class_name, Object* (*create)()) {
  classes()[class_name].create = create;
  class_method<send_alloc>(class_name, "alloc", "@@:");
  method<send_init>(class_name, "init", "@@:");
}

}  // namespace detail

void declare_foundation() {
  method<send_retain>(kEveryObject, "retain", "@@:");
  method<send_release>(kEveryObject, "release", "v@:");
  method<responds_to_selector>(kEveryObject, "respondsToSelector:", "B@::");
  creatable<Pool>("NSAutoreleasePool");
  method<pool_init>("NSAutoreleasePool", "init", "@@:");
  method<pool_drain>("NSAutoreleasePool", "drain", "v@:");
}

}  // namespace hearth::fake

/// Finds the function that the message goes to.
extern "C" void* hearth_fake_lookup(void* receiver, const char* selector) {
  const std::lock_guard guard(hearth::fake::lock());
  const auto* method = hearth::fake::find(receiver, selector);
  if (!method) hearth::fake::mistake(std::string("unrecognized selector ") + selector);
  return method->function;
}

// Keeps every argument register, looks up the function, and goes on there as if the caller had called it.
extern "C" void hearth_fake_message_send();
#if defined(__x86_64__)
asm(R"(.text
.globl hearth_fake_message_send
.type hearth_fake_message_send,@function
hearth_fake_message_send:
  pushq %rbp
  movq %rsp,%rbp
  subq $192,%rsp
  movq %rdi,-8(%rbp)
  movq %rsi,-16(%rbp)
  movq %rdx,-24(%rbp)
  movq %rcx,-32(%rbp)
  movq %r8,-40(%rbp)
  movq %r9,-48(%rbp)
  movups %xmm0,-64(%rbp)
  movups %xmm1,-80(%rbp)
  movups %xmm2,-96(%rbp)
  movups %xmm3,-112(%rbp)
  call hearth_fake_lookup@PLT
  movups -64(%rbp),%xmm0
  movups -80(%rbp),%xmm1
  movups -96(%rbp),%xmm2
  movups -112(%rbp),%xmm3
  movq -8(%rbp),%rdi
  movq -16(%rbp),%rsi
  movq -24(%rbp),%rdx
  movq -32(%rbp),%rcx
  movq -40(%rbp),%r8
  movq -48(%rbp),%r9
  leave
  jmp *%rax
.size hearth_fake_message_send,.-hearth_fake_message_send
)");
#elif defined(__aarch64__)
asm(R"(.text
.globl hearth_fake_message_send
.type hearth_fake_message_send,%function
hearth_fake_message_send:
  sub sp, sp, #224
  stp x0, x1, [sp]
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x30, [sp, #64]
  stp q0, q1, [sp, #80]
  stp q2, q3, [sp, #112]
  stp q4, q5, [sp, #144]
  stp q6, q7, [sp, #176]
  bl hearth_fake_lookup
  mov x16, x0
  ldp x0, x1, [sp]
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x30, [sp, #64]
  ldp q0, q1, [sp, #80]
  ldp q2, q3, [sp, #112]
  ldp q4, q5, [sp, #144]
  ldp q6, q7, [sp, #176]
  add sp, sp, #224
  br x16
.size hearth_fake_message_send,.-hearth_fake_message_send
)");
#endif

namespace hearth::fake {

objc::Runtime objective_c() {
  objc::Runtime runtime;
  runtime.get_class = [](const char* name) {
    const auto found = classes().find(name);
    return found == classes().end() ? nullptr : reinterpret_cast<objc::Class>(&found->second);
  };
  runtime.selector = [](const char* name) {
    const std::lock_guard guard(lock());
    return reinterpret_cast<objc::SEL>(const_cast<char*>(selectors().insert(name).first->c_str()));
  };
  runtime.encoding = [](objc::id receiver, objc::SEL selector) {
    const std::lock_guard guard(lock());
    const auto* method = find(receiver, reinterpret_cast<const char*>(selector));
    return method ? method->encoding : nullptr;
  };
  runtime.message_send = reinterpret_cast<void*>(hearth_fake_message_send);
  return runtime;
}

}  // namespace hearth::fake
