// An independent QUIC peer for the tests: quic-go as a server that does what streams ask of it, and as a client that asks.
// What it does is told in lines of JSON on stdout; quic.ts beside this folder speaks to it.
//
// A stream begins with a line, the command:
//
//	echo            everything comes back
//	sink            answers "<length> <sha256>" after the end
//	source <n>      n bytes, each its offset modulo 251
//	reset <code>    answers by RESET_STREAM
//	stop <code>     answers by STOP_SENDING, and "stopped"
//	hold            no answer
//	close <code> <reason>   closes the connection
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

type event map[string]any

var output sync.Mutex

func tell(e event) {
	line, _ := json.Marshal(e)
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func fail(err error) {
	tell(event{"event": "failed", "error": err.Error()})
	os.Exit(1)
}

// Why a connection or a stream ended.
func describe(err error) event {
	var application *quic.ApplicationError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	var stream *quic.StreamError
	var reset *quic.StatelessResetError
	switch {
	case errors.As(err, &application):
		return event{"kind": "application", "code": application.ErrorCode, "reason": application.ErrorMessage, "remote": application.Remote}
	case errors.As(err, &transport):
		return event{"kind": "transport", "code": transport.ErrorCode, "reason": transport.ErrorMessage, "remote": transport.Remote}
	case errors.As(err, &idle):
		return event{"kind": "idle"}
	case errors.As(err, &reset):
		return event{"kind": "stateless-reset"}
	case errors.As(err, &stream):
		return event{"kind": "stream", "code": stream.ErrorCode, "remote": stream.Remote}
	case err == nil:
		return event{"kind": "none"}
	}
	return event{"kind": "other", "reason": err.Error()}
}

var pattern = func() []byte {
	p := make([]byte, 251*256)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}()

func source(w io.Writer, n int64) error {
	for n > 0 {
		part := pattern
		if int64(len(part)) > n {
			part = part[:n]
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// Reads to the end; the offset of the first byte that is not the pattern's, or -1.
func verify(r io.Reader) (n int64, wrong int64, err error) {
	wrong = -1
	buffer := make([]byte, 251*256)
	for {
		got, e := r.Read(buffer)
		from := int(n % 251)
		for done := 0; done < got && wrong < 0; {
			part := min(got-done, len(pattern)-from)
			if !bytes.Equal(buffer[done:done+part], pattern[from:from+part]) {
				wrong = n + int64(done)
			}
			done += part
			from = 0
			if done < got {
				from = int((n + int64(done)) % 251)
			}
		}
		n += int64(got)
		if e == io.EOF {
			return n, wrong, nil
		}
		if e != nil {
			return n, wrong, e
		}
	}
}

func serveStream(conn *quic.Conn, stream *quic.Stream) {
	reader := bufio.NewReaderSize(stream, 512)
	line, err := reader.ReadString('\n')
	if err != nil {
		stream.CancelRead(99)
		stream.CancelWrite(99)
		return
	}
	words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
	number := func() int64 {
		n, _ := strconv.ParseInt(words[1], 10, 64)
		return n
	}
	switch words[0] {
	case "echo":
		if _, err := io.Copy(stream, reader); err != nil {
			stream.CancelWrite(98)
			return
		}
		stream.Close()
	case "sink":
		hash := sha256.New()
		n, err := io.Copy(hash, reader)
		if err != nil {
			tell(event{"event": "stream", "command": "sink", "bytes": n, "end": describe(err)})
			return
		}
		fmt.Fprintf(stream, "%d %x\n", n, hash.Sum(nil))
		stream.Close()
	case "source":
		err := source(stream, number())
		if err != nil {
			tell(event{"event": "stream", "command": "source", "end": describe(err)})
			return
		}
		stream.Close()
	case "reset":
		stream.CancelWrite(quic.StreamErrorCode(number()))
		io.Copy(io.Discard, reader)
	case "stop":
		stream.CancelRead(quic.StreamErrorCode(number()))
		stream.Write([]byte("stopped"))
		stream.Close()
	case "hold":
	case "close":
		conn.CloseWithError(quic.ApplicationErrorCode(number()), words[2])
	default:
		stream.CancelRead(97)
		stream.CancelWrite(97)
	}
}

func echoDatagrams(conn *quic.Conn) {
	for {
		datagram, err := conn.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		conn.SendDatagram(datagram)
	}
}

func serveConn(conn *quic.Conn) {
	state := conn.ConnectionState().TLS
	tell(event{"event": "connected", "suite": tls.CipherSuiteName(state.CipherSuite), "group": state.CurveID.String(), "alpn": state.NegotiatedProtocol})
	go echoDatagrams(conn)
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			end := describe(err)
			end["event"] = "closed"
			tell(end)
			return
		}
		go serveStream(conn, stream)
	}
}

func groups(names string) []tls.CurveID {
	known := map[string]tls.CurveID{"X25519": tls.X25519, "P-256": tls.CurveP256, "X25519MLKEM768": tls.X25519MLKEM768}
	var ids []tls.CurveID
	for _, name := range strings.Split(names, ",") {
		if id, ok := known[name]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func serve(args []string) {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	cert := flags.String("cert", "", "")
	key := flags.String("key", "", "")
	alpn := flags.String("alpn", "interop", "")
	names := flags.String("groups", "", "")
	retry := flags.Bool("retry", false, "")
	idle := flags.Duration("idle", 30*time.Second, "")
	streams := flags.Int64("streams", 1000, "")
	flags.Parse(args)
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		fail(err)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fail(err)
	}
	transport := &quic.Transport{Conn: socket, VerifySourceAddress: func(net.Addr) bool { return *retry }}
	listener, err := transport.Listen(
		&tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{*alpn}, CurvePreferences: groups(*names)},
		&quic.Config{EnableDatagrams: true, MaxIdleTimeout: *idle, MaxIncomingStreams: *streams},
	)
	if err != nil {
		fail(err)
	}
	tell(event{"event": "listening", "port": socket.LocalAddr().(*net.UDPAddr).Port})
	go func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go serveConn(conn)
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "memory" {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			tell(event{"event": "memory", "bytes": stats.HeapInuse + stats.StackInuse})
		}
	}
	// Its stdin closed: so did the test.
}

func ask(conn *quic.Conn, command string) *quic.Stream {
	stream, err := conn.OpenStreamSync(context.Background())
	if err != nil {
		fail(err)
	}
	if _, err := stream.Write([]byte(command + "\n")); err != nil {
		fail(err)
	}
	return stream
}

func upload(conn *quic.Conn, n int64) event {
	stream := ask(conn, "sink")
	hash := sha256.New()
	if err := source(io.MultiWriter(stream, hash), n); err != nil {
		fail(err)
	}
	stream.Close()
	answer, err := io.ReadAll(stream)
	if err != nil {
		fail(err)
	}
	return event{"ok": string(answer) == fmt.Sprintf("%d %x\n", n, hash.Sum(nil))}
}

func download(conn *quic.Conn, n int64) event {
	stream := ask(conn, fmt.Sprintf("source %d", n))
	stream.Close()
	got, wrong, err := verify(stream)
	if err != nil {
		fail(err)
	}
	return event{"ok": got == n && wrong < 0, "bytes": got, "wrong": wrong}
}

func manyStreams(conn *quic.Conn, count int64) event {
	var group sync.WaitGroup
	var lock sync.Mutex
	good := int64(0)
	turns := make(chan struct{}, 100)
	payload := pattern[:200]
	for range count {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			stream := ask(conn, "echo")
			stream.Write(payload)
			stream.Close()
			answer, err := io.ReadAll(stream)
			if err == nil && bytes.Equal(answer, payload) {
				lock.Lock()
				good++
				lock.Unlock()
			}
		})
	}
	group.Wait()
	return event{"ok": good == count, "streams": good}
}

func datagrams(conn *quic.Conn, count int64) event {
	seen := map[string]bool{}
	for i := range count {
		sent := append([]byte(fmt.Sprintf("%d:", i)), pattern[:1000]...)
		for attempt := 0; attempt < 10 && !seen[string(sent)]; attempt++ {
			if err := conn.SendDatagram(sent); err != nil {
				fail(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			answer, err := conn.ReceiveDatagram(ctx)
			cancel()
			if err == nil {
				seen[string(answer)] = true
			}
		}
	}
	return event{"ok": int64(len(seen)) == count, "datagrams": len(seen)}
}

func resetAndStop(conn *quic.Conn) event {
	stream := ask(conn, "reset 41")
	_, err := io.ReadAll(stream)
	reset := describe(err)
	stream.Close()
	stream = ask(conn, "stop 42")
	var stop event
	for range 100_000 {
		if _, err := stream.Write(pattern); err != nil {
			stop = describe(err)
			break
		}
	}
	answer, _ := io.ReadAll(stream)
	// And ours: what the other side is told of is its own to report.
	stream = ask(conn, "echo")
	stream.CancelWrite(43)
	stream.CancelRead(44)
	echoed := manyStreams(conn, 10)
	return event{"ok": string(answer) == "stopped" && echoed["ok"] == true, "reset": reset, "stop": stop}
}

func connect(args []string) {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	address := flags.String("address", "", "")
	ca := flags.String("ca", "", "")
	name := flags.String("name", "", "")
	alpn := flags.String("alpn", "interop", "")
	names := flags.String("groups", "", "")
	idle := flags.Duration("idle", 30*time.Second, "")
	do := flags.String("do", "download", "")
	n := flags.Int64("n", 0, "")
	flags.Parse(args)
	pem, err := os.ReadFile(*ca)
	if err != nil {
		fail(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, *address,
		&tls.Config{RootCAs: roots, ServerName: *name, NextProtos: []string{*alpn}, CurvePreferences: groups(*names)},
		&quic.Config{EnableDatagrams: true, MaxIdleTimeout: *idle},
	)
	if err != nil {
		end := describe(err)
		end["event"] = "refused"
		tell(end)
		return
	}
	state := conn.ConnectionState().TLS
	tell(event{"event": "connected", "suite": tls.CipherSuiteName(state.CipherSuite), "group": state.CurveID.String(), "alpn": state.NegotiatedProtocol})
	var result event
	switch *do {
	case "download":
		result = download(conn, *n)
	case "upload":
		result = upload(conn, *n)
	case "streams":
		result = manyStreams(conn, *n)
	case "datagrams":
		result = datagrams(conn, *n)
	case "reset":
		result = resetAndStop(conn)
	case "closed":
		ask(conn, "close 77 enough of it")
		<-conn.Context().Done()
		result = event{"ok": true, "end": describe(context.Cause(conn.Context()))}
	case "idle":
		<-conn.Context().Done()
		result = event{"ok": true, "end": describe(context.Cause(conn.Context()))}
	}
	result["event"] = "result"
	tell(result)
	if *do != "closed" && *do != "idle" {
		conn.CloseWithError(quic.ApplicationErrorCode(*n%1000), "done")
		// The CONNECTION_CLOSE leaves from the transport's own goroutine.
		time.Sleep(50 * time.Millisecond)
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		connect(os.Args[2:])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "server" {
		serve(os.Args[2:])
		return
	}
	fmt.Fprintln(os.Stderr, "client or server?")
	os.Exit(2)
}
