// A warm command in Java, which cannot open a file by its number and so has the socket as its standard input:
//
//	understudy run --warm --role scheduler -- bash -c 'exec java Warm.java <&$UNDERSTUDY_SOCKET'
import java.io.*;

class Warm {
    static volatile boolean works;

    public static void main(String[] args) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        var socket = new PrintStream(new FileOutputStream(FileDescriptor.in), true); // both ways
        Thread worker = null;
        String token = "";
        socket.println("READY=1"); // the Java machine has started, which took long
        for (String line; (line = lines.readLine()) != null && !line.equals("stop"); ) {
            if (line.startsWith("active token=")) {
                String now = token = line.split("[= ]")[2];
                works = true;
                worker = new Thread(() -> work(now));
                worker.start();
            } else if (worker != null) { // standby
                works = false;
                worker.join();
                worker = null;
                socket.println("IDLE=" + token);
            }
        }
        System.exit(0); // with all threads
    }

    static void work(String token) {
        for (; works; pause()) System.out.println("token " + token + ": " + System.getenv("UNDERSTUDY_ID") + " works");
    }

    static void pause() {
        try {
            Thread.sleep(100);
        } catch (InterruptedException e) {
            works = false;
        }
    }
}
