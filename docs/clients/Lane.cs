// A till in 60 lines: quote, pay, record. .NET 8 or newer, no packages. Usage: dotnet run -- SOCKET|HOST:PORT LANE CODE [QUANTITY]
// For HOST:PORT the files of `shelfd lane add LANE` lie in the working directory: authority.crt, LANE.crt, LANE.key.
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;

var till = new Lane(args[0], args[1]);
var basket = Guid.NewGuid().ToString();
var line = new JsonObject { ["line_id"] = "1", ["code"] = args[2], ["quantity"] = args.Length > 3 ? int.Parse(args[3]) : 1 };
var quote = till.Call("basket.quote", new JsonObject { ["basket_id"] = basket, ["lines"] = new JsonArray(line) });
var tender = new JsonObject { ["type"] = "cash", ["amount_minor"] = (long)quote["total_minor"]! };
// A real till writes the sale to its disk here, before it sends it: after a power cut it sends the very same again.
var sale = new JsonObject { ["sale_id"] = basket, ["quote_id"] = (string)quote["quote_id"]!, ["tenders"] = new JsonArray(tender) };
var done = till.Call("sale.commit", sale);
Console.WriteLine($$"""{"total_minor": {{quote["total_minor"]}}, "sale_id": "{{done["sale_id"]}}", "recorded": {{done["recorded"]!.ToJsonString()}}}""");

// The daemon's answer is an error: Data has code, cashier and retryable (docs/reference/lane.md).
class Refused(JsonNode data) : Exception((string)data["cashier"]!) { public bool Retryable => (bool)data["retryable"]!; }

class Lane(string address, string lane) {
    StreamReader? reader; StreamWriter? writer; int lastId;

    // Ask until there is an answer: every call may be repeated, because it carries its own id.
    public JsonNode Call(string method, JsonObject parameters) {
        for (var pause = 500; ; pause = Math.Min(2 * pause, 10_000)) {
            try {
                if (reader is null) Connect();
                return Ask(method, parameters);
            }
            catch (Exception error) when (error is IOException or SocketException or Refused { Retryable: true }) {
                if (error is not Refused) reader = null;
                Thread.Sleep(pause);
            }
        }
    }

    void Connect() {
        Stream stream;
        if (address.Contains('/')) {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 2000 };
            socket.Connect(new UnixDomainSocketEndPoint(address));
            stream = new NetworkStream(socket, ownsSocket: true);
        } else {
            var (host, port) = (address[..address.LastIndexOf(':')], int.Parse(address[(address.LastIndexOf(':') + 1)..]));
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.Add(X509Certificate2.CreateFromPem(File.ReadAllText("authority.crt")));
            var tls = new SslStream(new TcpClient(host, port) { ReceiveTimeout = 2000 }.GetStream());
            var pem = X509Certificate2.CreateFromPemFile($"{lane}.crt", $"{lane}.key");
            var own = new X509Certificate2Collection(new X509Certificate2(pem.Export(X509ContentType.Pkcs12)));  // Windows takes no bare key
            var options = new SslClientAuthenticationOptions { TargetHost = host, ClientCertificates = own, CertificateChainPolicy = policy };
            tls.AuthenticateAsClient(options);
            stream = tls;
        }
        (reader, writer) = (new StreamReader(stream), new StreamWriter(stream) { NewLine = "\n", AutoFlush = true });
        Ask("hello", new JsonObject { ["lane"] = lane, ["client"] = "Lane.cs" });
    }

    JsonNode Ask(string method, JsonObject parameters) {
        var call = new JsonObject { ["jsonrpc"] = "2.0", ["id"] = ++lastId, ["method"] = method, ["params"] = parameters.DeepClone() };
        writer!.WriteLine(call.ToJsonString());
        while (reader!.ReadLine() is { } text) {
            var answer = JsonNode.Parse(text)!;
            if ((int?)answer["id"] != lastId) continue;  // what has no id is a notification
            return answer["error"] is { } error ? throw new Refused(error["data"]!) : answer["result"]!;
        }
        throw new IOException("closed before the answer");
    }
}
